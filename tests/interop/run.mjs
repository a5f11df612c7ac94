// Runs the suites and says how it went. `node run.mjs [--filter WORDS]`: only the files whose name
// contains WORDS or, if there is none, the tests whose title does.

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync, existsSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runtimeOperations } from './lib/contract.mjs'

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

child.on('exit', (code, signal) => {
  const summary = existsSync(tap) ? readFileSync(tap, 'utf8') : ''
  const covered = existsSync(coverage) ? readFileSync(coverage, 'utf8').trim().split('\n') : []
  rmSync(scratch, { recursive: true, force: true })
  const number = (word) => Number(summary.match(new RegExp(`^# ${word} (\\d+)`, 'm'))?.[1] ?? 0)
  const passed = number('pass')
  let failed = number('fail') + number('cancelled')
  if (failed === 0 && (code !== 0 || signal)) failed = 1
  if (!filter) failed += missing(covered)
  console.log(`${passed} passed, ${failed} failed`)
  process.exitCode = failed > 0 || (passed === 0 && !filter) ? 1 : 0
})

/** Prints which operations of the runtime API were never answered with a success; 1 if any. */
function missing(covered) {
  // Nothing answers these two with a success while no bot or integration code is called.
  const unanswerable = new Set(['callAction', 'configureIntegration'])
  const seen = new Set(covered.map((line) => line.split(' ')[0]))
  const absent = runtimeOperations.filter((id) => !seen.has(id) && !unanswerable.has(id))
  console.log(`runtime operations answered as documented: ${runtimeOperations.filter((id) => seen.has(id)).length}` +
    ` of ${runtimeOperations.length}; operation and client pairs: ${new Set(covered).size}`)
  if (absent.length > 0) console.log(`never answered with a success: ${absent.join(', ')}`)
  return absent.length > 0 ? 1 : 0
}
