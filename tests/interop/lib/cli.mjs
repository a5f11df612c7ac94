// The official CLI in the versions under test: projects for it in folders of their own, its commands
// run as a developer runs them.

import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { after } from 'node:test'
import { apiUrl, assert, once, server } from './harness.mjs'

const modules = fileURLToPath(new URL('../node_modules/', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'duologue-cli-'))
const running = new Set()

after(async () => {
  await Promise.all([...running].map(stop))
  rmSync(scratch, { recursive: true, force: true, maxRetries: 5 })
})

/** A test with this version of the CLI. The body gets a CLI that is logged in, and a world. */
export function withCli(version, title, body) {
  once(`${title} [bp ${version}]`, async (w) => {
    const cli = new Cli(version)
    await cli.ok('login', '--apiUrl', apiUrl(), '--token', server.token, '--workspaceId', server.workspaceId)
    await body(cli, w)
  })
}

/** One version of the CLI, with a home and projects of its own. */
export class Cli {
  runs = 0

  constructor(version) {
    this.version = version
    this.folder = mkdtempSync(join(scratch, `${version}-`))
    const package_ = join(modules, `cli-${version}`)
    this.program = join(package_, JSON.parse(readFileSync(join(package_, 'package.json'), 'utf8')).bin.bp ?? '')
    this.require = createRequire(join(package_, 'package.json'))
  }

  /** Runs a command to its end. */
  async run(command, ...rest) {
    const { cwd, env, args } = this.#options(command, rest)
    // Into files: the CLI ends without waiting until a pipe has taken all that it says.
    const said = ['out', 'err'].map((name) => join(this.folder, `${name}-${++this.runs}`))
    const files = said.map((path) => openSync(path, 'w'))
    const child = this.#spawn(args, { cwd, env, stdio: ['ignore', ...files] })
    files.forEach(closeSync)
    const { code } = await child.closed
    running.delete(child)
    const [stdout, stderr] = said.map((path) => readFileSync(path, 'utf8'))
    return { code, stdout, text: stdout + stderr }
  }

  /** `run`, which must succeed. */
  async ok(...args) {
    const ran = await this.run(...args)
    assert.equal(ran.code, 0, `bp ${args.filter((arg) => typeof arg === 'string').join(' ')}:\n${ran.text}`)
    return ran
  }

  /** `run`, which must fail with these words. */
  async fails(words, ...args) {
    const ran = await this.run(...args)
    assert.notEqual(ran.code, 0, `bp ${args.join(' ')} should fail:\n${ran.text}`)
    assert.match(ran.text, words)
  }

  /** What a command with `--json` prints. */
  async json(...args) {
    return JSON.parse((await this.ok(...args, '--json')).stdout)
  }

  /**
   * Starts a command that goes on, once it has said `ready`. `text` is what it has said, with how it ended
   * if it has.
   */
  async start(ready, command, ...rest) {
    const { cwd, env, args } = this.#options(command, rest)
    const child = this.#spawn(args, { cwd, env })
    let said = ''
    await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`bp ${args.join(' ')} didn't say ${ready}:\n${said}`)), 60_000)
      const look = (chunk) => {
        said += chunk
        if (ready.test(said)) resolve(clearTimeout(late))
      }
      child.stdout.on('data', look)
      child.stderr.on('data', look)
      // Not `close`: what it has started may outlive it.
      child.on('exit', (code, signal) => {
        clearTimeout(late)
        said += `\n(ended with ${signal ?? code})\n`
        reject(new Error(`bp ${args.join(' ')} ended:\n${said}`))
      })
    })
    const ended = () => child.exitCode !== null || child.signalCode !== null
    return { text: () => said, ended, stop: () => stop(child), interrupt: () => interrupt(child) }
  }

  #options(command, rest) {
    const options = typeof rest.at(-1) === 'object' ? rest.pop() : {}
    const args = [...command.split(' '), ...rest, '--confirm', '--botpressHome', join(this.folder, 'home')]
    return { cwd: options.cwd ?? this.folder, env: options.env, args }
  }

  #spawn(args, { cwd, env, stdio }) {
    const { BP_TOKEN, BP_API_URL, ...clean } = process.env
    // A process group of its own: some commands have children.
    const child = spawn(process.execPath, [this.program, ...args], { cwd, env: { ...clean, ...env }, stdio, detached: true })
    child.closed = new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code, signal) => resolve({ code, signal }))
    })
    running.add(child)
    return child
  }

  /** A project made by `bp init`, with these files over it, and the packages that it asks for. */
  async project(type, name, files) {
    await this.ok('init', '--type', type, '--name', name)
    return this.#fill(join(this.folder, name), files)
  }

  /** A project of these files only. */
  bareProject(name, files) {
    return this.#fill(join(this.folder, name), files)
  }

  #fill(folder, files) {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    const own = join(folder, 'node_modules')
    rmSync(own, { recursive: true, force: true })
    mkdirSync(join(own, '@botpress'), { recursive: true })
    mkdirSync(join(own, '@types'))
    for (const name of ['sdk', 'client']) {
      const main = this.require.resolve(`@botpress/${name}`)
      const root = main.slice(0, main.indexOf(`@botpress/${name}`) + `@botpress/${name}`.length)
      symlinkSync(root, join(own, '@botpress', name))
    }
    symlinkSync(join(modules, '@types/node'), join(own, '@types/node'))
    return folder
  }

  /** Type-checks a project as its author's editor does. */
  async typeCheck(folder) {
    const tsc = join(modules, 'typescript/bin/tsc')
    const child = spawn(process.execPath, [tsc, '--noEmit', '--incremental', 'false', '-p', folder], { cwd: folder })
    let text = ''
    child.stdout.on('data', (chunk) => (text += chunk))
    const code = await new Promise((resolve) => child.on('close', resolve))
    assert.equal(code, 0, `the generated types don't compile:\n${text}`)
  }
}

/** Ends a command and all that it has started, which may outlive it. */
async function stop(child) {
  running.delete(child)
  signal(child, 'SIGKILL')
  await child.closed
}

/** What Ctrl-C does: all processes of the group are told, and must end by it. */
async function interrupt(child) {
  signal(child, 'SIGINT')
  let killed = false
  const late = setTimeout(() => {
    killed = true
    signal(child, 'SIGKILL')
  }, 20_000)
  await child.closed
  clearTimeout(late)
  running.delete(child)
  assert.ok(!killed, 'it, or what it has started, went on after Ctrl-C')
}

function signal(child, name) {
  try {
    process.kill(-child.pid, name)
  } catch (error) {
    // Nobody is left.
    if (error.code !== 'ESRCH') throw error
  }
}

let taken = 0

/**
 * A port that nobody listens on, and nobody else comes to listen on while a program is being built for
 * it: it is below those that the system gives away, and each process looks for its ports in another place.
 */
export function freePort() {
  const port = 10_000 + ((process.pid * 61 + taken++) % 22_000)
  return new Promise((resolve) => {
    const probe = net.createServer()
    probe.once('error', () => resolve(freePort()))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(port)))
  })
}
