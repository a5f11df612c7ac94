// Bundles a bot's project as the official CLI does: `node bundle.mjs PROJECT BUNDLE`. Needs no server.
//
// Called by `cargo xtask bundle`, for `duologue bench delivery --hosted`.

import { execFileSync } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const [project, bundle] = process.argv.slice(2)
if (!bundle) throw new Error('node bundle.mjs PROJECT BUNDLE')

const cli = fileURLToPath(new URL('node_modules/cli-0.8.59/', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'duologue-bundle-'))
try {
  const copy = join(scratch, 'bot')
  cpSync(project, copy, { recursive: true })
  mkdirSync(join(copy, 'node_modules/@botpress'), { recursive: true })
  const { resolve } = createRequire(join(cli, 'package.json'))
  for (const name of ['@botpress/sdk', '@botpress/client']) {
    const main = resolve(name)
    symlinkSync(main.slice(0, main.indexOf(name) + name.length), join(copy, 'node_modules', name))
  }
  const build = [join(cli, 'bin.js'), 'build', '--confirm', '--botpressHome', join(scratch, 'home')]
  execFileSync(process.execPath, build, { cwd: copy, stdio: ['ignore', 'inherit', 'inherit'] })
  copyFileSync(join(copy, '.botpress/dist/index.js'), bundle)
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
