// Bots and integrations written with the official SDK 5.4 (`code/`): bundled as its own tools do, then
// run by the server, or by a process of their own that the server reaches by URL.

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { freePort } from './cli.mjs'
import { apiUrl, eventually, ok, once, server } from './harness.mjs'

const code = fileURLToPath(new URL('../code/', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'duologue-sdk-'))
const running = new Set()
const bundles = new Map()

after(() => {
  for (const child of running) child.kill('SIGKILL')
  rmSync(scratch, { recursive: true, force: true })
})

/** One CommonJS text of `code/NAME.ts` and all that it imports. */
export function bundle(name) {
  if (!bundles.has(name)) bundles.set(name, bundled(name))
  return bundles.get(name)
}

async function bundled(name) {
  const built = await build({
    entryPoints: [join(code, `${name}.ts`)],
    alias: { '@botpress/sdk': 'sdk-5.4' },
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node18',
    logOverride: { 'equals-negative-zero': 'silent' },
    write: false,
  })
  return built.outputFiles[0].text
}

/** The definition that `code/NAME.ts` exports, as the body of an update of a bot. */
export async function definitionOf(name) {
  const path = await file(name)
  const { definition } = (await import(path)).default
  const declared = (things = {}, of) => Object.fromEntries(Object.entries(things).map(([key, thing]) => [key, of(thing)]))
  const withSchema = ({ schema, ...rest }) => ({ ...rest, schema: schema.toJSONSchema() })
  return {
    ...(definition.configuration && { configuration: withSchema(definition.configuration) }),
    states: declared(definition.states, withSchema),
    events: declared(definition.events, withSchema),
    actions: declared(definition.actions, ({ input, output, ...rest }) => ({
      ...rest,
      input: withSchema(input),
      output: withSchema(output),
    })),
    recurringEvents: definition.recurringEvents ?? {},
    user: definition.user ?? { tags: {} },
    conversation: definition.conversation ?? { tags: {} },
    message: definition.message ?? { tags: {} },
  }
}

async function file(name) {
  const path = join(scratch, `${name}.cjs`)
  writeFileSync(path, await bundle(name))
  return path
}

/** Both ways to run code: each gives the fields of a bot or an integration that say where it is. */
export const WAYS = { hosted: async (name) => ({ code: await bundle(name) }), remote: async (path) => ({ url: await serve(path) }) }

/** A test for each way. The body gets a world and the way. */
export function eachWay(title, body) {
  for (const way of Object.keys(WAYS)) once(`${title} [${way}]`, (w) => body(w, WAYS[way]))
}

/** Serves `code/NAME.ts`, as its author would. Answers its URL. */
async function serve(name) {
  const port = await freePort()
  const script = `require(${JSON.stringify(await file(name))}).default.start(${port})`
  const { BP_TOKEN, BP_API_URL, ...env } = process.env
  const child = spawn(process.execPath, ['-e', script], {
    env: { ...env, BP_API_URL: apiUrl(), BP_TOKEN: server.token, BP_WEBHOOK_URL: server.url },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  running.add(child)
  const url = `http://127.0.0.1:${port}`
  const healthy = () => fetch(`${url}/health`).then((answer) => answer.ok, () => false)
  await eventually(healthy, { what: `${name} is served` })
  return url
}

/** Updates a bot as its workspace does. */
export async function updateBot(bot, body) {
  const headers = { 'x-workspace-id': server.workspaceId, 'x-multiple-integrations': 'true' }
  return (await ok('PUT', `/v1/admin/bots/${bot.id}`, { headers, body })).bot
}

/** What the code of a bot has noted, oldest first. */
export const notes = (bot, what) => notesIn(`type=bot&id=${bot.id}`, { botId: bot.id }, what)

/** What the code of an integration has noted about a bot, oldest first. */
export function notesOf(bot, integration, alias, what) {
  const headers = { 'x-integration-id': integration.id, 'x-integration-alias': alias }
  return notesIn(`type=integration&id=${integration.id}`, { botId: bot.id, headers }, what)
}

async function notesIn(where, as, what) {
  const found = []
  let nextToken
  do {
    const token = nextToken ? `&nextToken=${encodeURIComponent(nextToken)}` : ''
    const page = await ok('GET', `/v1/chat/states?${where}&pageSize=100${token}`, as)
    found.push(...page.states.map((state) => state.payload).filter((payload) => payload.what))
    nextToken = page.meta.nextToken
  } while (nextToken)
  found.sort((a, b) => a.at - b.at)
  return what ? found.filter((note) => note.what === what) : found
}

/** Waits for notes that `look` finds right. */
export async function noted(bot, what, look = (found) => found.length > 0, limit = 20_000) {
  return eventually(async () => {
    const found = await notes(bot, what)
    return look(found) && found
  }, { limit, what: `notes of ${what}` })
}
