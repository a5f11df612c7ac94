// What the suites are written with: `every` and `once` declare tests, the rest are fixtures and
// assertions. One proxy a suite file; each test gets a fresh world of its own.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import http from 'node:http'
import { after, before, test } from 'node:test'
import { clients, has, newest } from './clients.mjs'
import { Proxy } from './proxy.mjs'

export { assert }

function env(name) {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: see tests/interop/README.md`)
  return value
}

export const server = {
  url: env('DUOLOGUE_URL').replace(/\/$/, ''),
  token: env('DUOLOGUE_TOKEN'),
  botId: env('DUOLOGUE_BOT_ID'),
  workspaceId: env('DUOLOGUE_WORKSPACE_ID'),
  /** Where `bp dev` opens its tunnels: `--tunnel-listen`. */
  tunnelUrl: env('DUOLOGUE_TUNNEL_URL').replace(/\/$/, ''),
}

const proxy = new Proxy(server.url)

before(() => proxy.start())
after(() => {
  proxy.stop()
  if (process.env.INTEROP_COVERAGE) {
    appendFileSync(process.env.INTEROP_COVERAGE, [...proxy.covered].map((line) => `${line}\n`).join(''))
  }
})

/** Where clients reach the server: every answer is checked on its way. */
export const apiUrl = () => proxy.url

/** An id of the right form that names nothing. */
export const nobody = (prefix) => `${prefix}_01HZZZZZZZZZZZZZZZZZZZZZZZ`

/** A text no other test uses. */
export const unique = (word = 'x') => `${word}-${randomUUID().slice(0, 13)}`

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Polls until `attempt` returns something truthy; fails after `limit` milliseconds. */
export async function eventually(attempt, { limit = 30_000, what = 'the condition' } = {}) {
  const end = Date.now() + limit
  for (let pause = 20; ; pause = Math.min(pause * 1.5, 400)) {
    const got = await attempt()
    if (got) return got
    if (Date.now() > end) assert.fail(`${what} did not come true within ${limit} ms`)
    await sleep(pause)
  }
}

/** Plain HTTP with exactly this target and these headers, no client. */
export function raw(method, target, { body, headers = {}, token = server.token, botId, text } = {}) {
  const payload = text ?? (body === undefined ? undefined : JSON.stringify(body))
  const all = {
    ...(token && { authorization: `Bearer ${token}` }),
    ...(botId && { 'x-bot-id': botId }),
    ...(payload !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
    ...headers,
  }
  for (const [name, value] of Object.entries(all)) if (value === null) delete all[name]
  const { hostname, port } = new URL(proxy.url)
  return new Promise((resolve, reject) => {
    const request = http.request({ hostname, port, method, path: target, headers: all }, (answer) => {
      const chunks = []
      answer.on('data', (chunk) => chunks.push(chunk))
      answer.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8')
        let json
        try {
          json = JSON.parse(text)
        } catch {
          json = undefined
        }
        resolve({ status: answer.statusCode, headers: answer.headers, text, body: json })
      })
    })
    request.on('error', reject)
    request.end(payload)
  })
}

/** `raw`, which must succeed; returns the body. */
export async function ok(method, target, options) {
  const answer = await raw(method, target, options)
  assert.ok(answer.status < 300, `${method} ${target} → ${answer.status} ${answer.text.slice(0, 500)}`)
  return answer.body
}

/** `raw`, which must be refused with this type; returns the error body. */
export async function refusedRaw(type, method, target, options) {
  const answer = await raw(method, target, options)
  assert.equal(answer.body?.type, type, `${method} ${target} → ${answer.status} ${answer.text.slice(0, 500)}`)
  assert.equal(answer.status, CODES[type])
  return answer.body
}

/** errors.md § 2. */
export const CODES = {
  Internal: 500,
  Unauthorized: 401,
  Forbidden: 403,
  PayloadTooLarge: 413,
  InvalidPayload: 400,
  UnsupportedMediaType: 415,
  MethodNotFound: 405,
  ResourceNotFound: 404,
  InvalidJsonSchema: 400,
  InvalidDataFormat: 400,
  InvalidIdentifier: 400,
  RelationConflict: 409,
  ReferenceConstraint: 409,
  ResourceLockedConflict: 409,
  ReferenceNotFound: 400,
  InvalidQuery: 400,
  Runtime: 400,
  AlreadyExists: 409,
}

const admin = { headers: { 'x-workspace-id': server.workspaceId, 'x-multiple-integrations': 'true' } }

function atLeast(version, wanted) {
  const [a, b] = [version, wanted].map((v) => v.split('.').map(Number))
  return a[0] !== b[0] ? a[0] > b[0] : a[1] >= b[1]
}

/** What a test works with. Everything it makes is its own. */
class World {
  constructor(client) {
    this.version = client.version
    this.lib = client.lib
  }

  /** Whether the client under test is at least this version. */
  since(version) {
    return atLeast(this.version, version)
  }

  /** A new bot. */
  async newBot(fields = {}) {
    const { bot } = await ok('POST', '/v1/admin/bots', { ...admin, body: { name: unique('bot'), ...fields } })
    return bot
  }

  /** A new private integration with the channels `channel` and `direct`. */
  async newIntegration(fields = {}) {
    const body = {
      name: unique('int').toLowerCase(),
      version: '1.0.0',
      title: 'Interop',
      description: 'Made by a test',
      channels: {
        channel: { messages: { text: { schema: {} } } },
        direct: { messages: { text: { schema: {} } } },
      },
      ...fields,
    }
    const { integration } = await ok('POST', '/v1/admin/integrations', { ...admin, body })
    return integration
  }

  /** Installs an integration in a bot under `alias` (its name, if not given). */
  async install(bot, integration, alias = integration.name, fields = {}) {
    const { bot: updated } = await ok('PUT', `/v1/admin/bots/${bot.id}`, {
      ...admin,
      body: { integrations: { [alias]: { integrationId: integration.id, enabled: true, ...fields } } },
    })
    return { alias, ...updated.integrations[alias] }
  }

  /** A client of the version under test. */
  client(props = {}) {
    const { headers, ...rest } = props
    return new this.lib.Client({
      apiUrl: proxy.url,
      token: server.token,
      headers: { 'x-interop-client': this.version, ...headers },
      ...rest,
    })
  }

  /** A client acting as a bot: a new one if none is given. */
  async asBot(bot) {
    const own = bot ?? (await this.newBot())
    return { bot: own, client: this.client({ botId: own.id }) }
  }

  /** A client acting as an integration installed in `bot`, which the alias header names. */
  asIntegration(bot, integration, alias) {
    return this.client({
      botId: bot.id,
      integrationId: integration.id,
      ...(alias && { headers: { 'x-integration-alias': alias } }),
    })
  }

  /** A client for the admin API in the workspace of the suite. */
  asAdmin(props = {}) {
    return this.client({
      workspaceId: server.workspaceId,
      headers: { 'x-multiple-integrations': 'true' },
      ...props,
    })
  }

  /** A bot with one conversation and one user in it. */
  async scene() {
    const { bot, client } = await this.asBot()
    const { conversation } = await client.createConversation({ channel: 'channel', tags: {} })
    const { user } = await client.createUser({ tags: {} })
    const say = async (text, extra = {}) =>
      (
        await client.createMessage({
          conversationId: conversation.id,
          userId: user.id,
          type: 'text',
          payload: { text },
          tags: {},
          ...extra,
        })
      ).message
    return { bot, client, conversation, user, say }
  }

  /** Asserts that a client call is refused with this type, as this version's own error class. */
  async refused(type, promise, words) {
    let error
    try {
      const answer = await promise
      assert.fail(`expected ${type}, but it was answered ${JSON.stringify(answer)?.slice(0, 300)}`)
    } catch (caught) {
      if (caught instanceof assert.AssertionError) throw caught
      error = caught
    }
    const { lib } = this
    assert.ok(lib.isApiError(error), `not an API error: ${error}`)
    assert.equal(error.type, type, `${error.type}: ${error.message}`)
    assert.equal(error.code, CODES[type])
    assert.match(error.id, /^err_\d{14}x[0-9A-F]{8}$/)
    assert.ok(error.message.length > 0)
    assert.ok(error instanceof lib[`${type}Error`], `${type} is not an instance of the client's ${type}Error`)
    if (words) assert.match(error.message, words)
    proxy.understood(error.id)
    return error
  }
}

async function run(world, body) {
  proxy.take()
  await body(world)
  const wrong = proxy.take()
  assert.equal(wrong.length, 0, `answers that are not as documented:\n  ${wrong.join('\n  ')}`)
}

/**
 * A test for each client version that has all operations of `needs` (a list, or one name); with
 * `>=1.16` in the list, from that version on. The body gets a fresh world.
 */
export function every(title, needs, body) {
  const fits = (client) =>
    [needs].flat().every((need) =>
      need.startsWith('>=') ? atLeast(client.version, need.slice(2)) : has(client, need),
    )
  for (const client of clients.filter(fits)) {
    test(`${title} [${client.version}]`, { timeout: 120_000 }, () => run(new World(client), body))
  }
}

/** A test of plain HTTP, or of what needs only the newest client. */
export function once(title, body) {
  test(title, { timeout: 120_000 }, () => run(new World(newest), body))
}

/** Asserts that an instant is close to now. */
export function recent(text, slack = 60_000) {
  const age = Math.abs(Date.now() - Date.parse(text))
  assert.ok(age < slack, `${text} is not close to now`)
}

/** All pages of a list operation: `page(token)` answers `{ items, token }`. */
export async function pages(page, limit = 1000) {
  const all = []
  let token
  for (let n = 0; n < limit; n++) {
    const got = await page(token)
    all.push(got.items)
    if (!got.token) return all
    assert.ok(got.items.length > 0, 'a token on an empty page')
    token = got.token
  }
  return assert.fail(`more than ${limit} pages`)
}
