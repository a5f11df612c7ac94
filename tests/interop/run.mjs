// Runs the suites and says how it went. `node run.mjs [--filter WORDS]`: only the files whose name
// contains WORDS or, if there is none, the tests whose title does.

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync, existsSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { clients, has } from './lib/clients.mjs'
import { operationsOf, runtimeOperations } from './lib/contract.mjs'

/** What can only be refused: an account that is gone can test no more, and no bot has a web chat. */
const ONLY_REFUSED = new Set(['deleteAccount', 'getBotWebchat'])

const here = fileURLToPath(new URL('.', import.meta.url))
const filter = process.argv[2] === '--filter' ? process.argv[3] : process.argv[2]

const all = readdirSync(join(here, 'suites')).filter((name) => name.endsWith('.test.mjs'))
const named = filter ? all.filter((name) => name.includes(filter)) : all
const files = (named.length ? named : all).map((name) => join('suites', name))
const pattern = filter && named.length === 0 ? ['--test-name-pattern', escape(filter)] : []

function escape(text) {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

const scratch = mkdtempSync(join(tmpdir(), 'duologue-interop-'))
const [tap, coverage] = [join(scratch, 'tap'), join(scratch, 'coverage')]
const child = spawn(
  process.execPath,
  [
    '--test',
    `--test-concurrency=${Math.max(2, availableParallelism())}`,
    // A file that takes longer is ended, with its name.
    '--test-timeout=600000',
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    '--test-reporter=tap',
    `--test-reporter-destination=${tap}`,
    ...pattern,
    ...files,
  ],
  { cwd: here, stdio: 'inherit', env: { ...process.env, INTEROP_COVERAGE: coverage } },
)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))

child.on('exit', async (code, signal) => {
  const summary = existsSync(tap) ? readFileSync(tap, 'utf8') : ''
  const covered = existsSync(coverage) ? readFileSync(coverage, 'utf8').trim().split('\n') : []
  rmSync(scratch, { recursive: true, force: true })
  const number = (word) => Number(summary.match(new RegExp(`^# ${word} (\\d+)`, 'm'))?.[1] ?? 0)
  const passed = number('pass')
  let failed = number('fail') + number('cancelled')
  if (failed === 0 && (code !== 0 || signal)) failed = 1
  if (!filter) failed += await missing(covered)
  console.log(`${passed} passed, ${failed} failed`)
  process.exitCode = failed > 0 || (passed === 0 && !filter) ? 1 : 0
})

/**
 * Prints what was covered, and what is missing; how many things are. All that the server says it
 * serves must have succeeded; each operation of the runtime API must have succeeded and been refused
 * through every version of the client that has it, the refusal as the client's own error class.
 */
async function missing(covered) {
  const seen = new Set(covered)
  const anyone = (outcome, id) => covered.some((line) => line.startsWith(`${outcome} ${id} `))
  const served = operationsOf(await (await fetch(new URL('/openapi.json', process.env.DUOLOGUE_URL))).json())
  const absent = []
  for (const id of new Set([...runtimeOperations, ...served])) {
    if (!served.includes(id)) absent.push(`${id} is not served`)
    const outcome = ONLY_REFUSED.has(id) ? 'refused' : 'success'
    if (!anyone(outcome, id)) absent.push(`${id}: no ${outcome}`)
  }
  for (const id of runtimeOperations) {
    for (const client of clients.filter((client) => has(client, id))) {
      for (const outcome of ['success', 'refused']) {
        const due = outcome === 'refused' || !ONLY_REFUSED.has(id)
        if (due && !seen.has(`${outcome} ${id} ${client.version}`)) absent.push(`${id}: no ${outcome} with ${client.version}`)
      }
    }
  }
  console.log(`\noperations served: ${served.length}, of the runtime API: ${runtimeOperations.length}`)
  const pairs = (outcome) => [...seen].filter((line) => line.startsWith(outcome) && !line.endsWith(' http')).length
  console.log(`operation and client pairs that succeeded: ${pairs('success')}, that were refused: ${pairs('refused')}`)
  for (const line of absent) console.log(`not covered: ${line}`)
  return absent.length
}
