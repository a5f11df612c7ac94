'use strict'
// Loads a bundle and serves its handler on loopback, for the server that started this process.
//
// File descriptor 0 is a socket to that server. It sends one line with the bundle's path, a key, and
// whether the code works for several bots; this answers with the port it listens on, or why the bundle
// can't be loaded. Afterwards the server asks now and then whether the process still answers. When the
// socket closes, the server is gone, and so is this.

const http = require('node:http')
const net = require('node:net')
const { AsyncLocalStorage } = require('node:async_hooks')
const { timingSafeEqual } = require('node:crypto')

const KEY_HEADER = 'x-duologue-key'
// Configurations travel in a header.
const HEADER_BYTES = 1 << 20
// Longer than the server keeps an idle connection, so that it never writes into one that closes.
const KEEP_ALIVE_MS = 65_000

const control = new net.Socket({ fd: 0, readable: true, writable: true })
const tell = (message) => control.write(JSON.stringify(message) + '\n')
const end = () => process.kill(process.pid, 'SIGKILL')
control.on('close', end)
control.on('error', end)

// The socket isn't the bundle's to read.
Object.defineProperty(process, 'stdin', {
  configurable: true,
  get: () => require('node:stream').Readable.from([]),
})

// As Node does by default, but without a page of the bundle's minified line before the error.
process.on('uncaughtException', (error) => {
  if (process.listenerCount('uncaughtException') > 1) return
  console.error(describe(error))
  process.exit(1)
})

// Runs a function on behalf of a bot. Following that costs time, so code that works for one bot isn't followed.
const caller = { run: (bot, work, ...rest) => work(...rest) }

let pending = ''
let greeted = false
control.setEncoding('utf8')
control.on('data', (chunk) => {
  pending += chunk
  let end
  while ((end = pending.indexOf('\n')) >= 0) {
    const line = pending.slice(0, end)
    pending = pending.slice(end + 1)
    if (greeted) tell({ pong: Number(line) })
    else {
      greeted = true
      start(JSON.parse(line))
    }
  }
})

function start({ bundle, key, shared }) {
  if (shared) nameBots()
  let handler
  try {
    handler = handlerOf(require(bundle))
  } catch (error) {
    tell({ failed: describe(error) })
    return
  }
  const expected = Buffer.from(key)
  const server = http.createServer({ maxHeaderSize: HEADER_BYTES, noDelay: true }, (request, response) => {
    const given = Buffer.from(request.headers[KEY_HEADER] ?? '')
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      response.writeHead(403).end()
      return
    }
    delete request.headers[KEY_HEADER]
    receive(handler, request, response)
  })
  server.keepAliveTimeout = KEEP_ALIVE_MS
  server.requestTimeout = 0
  server.on('error', (error) => tell({ failed: describe(error) }))
  server.listen({ host: '127.0.0.1', port: 0 }, () => tell({ port: server.address().port }))
}

/** The bundle's handler: exported by name, or a method of what it exports by default. */
function handlerOf(exports) {
  if (typeof exports?.handler === 'function') return exports.handler
  const main = exports?.default ?? exports
  if (typeof main?.handler === 'function') return (request) => main.handler(request)
  throw new Error('The bundle exports no handler. Its default export must be a bot or an integration.')
}

function receive(handler, request, response) {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    const url = request.url
    const mark = url.indexOf('?')
    const call = {
      method: request.method,
      path: mark < 0 ? url : url.slice(0, mark),
      query: mark < 0 ? '' : url.slice(mark + 1),
      headers: request.headers,
      body: chunks.length === 0 ? undefined : Buffer.concat(chunks).toString('utf8'),
    }
    caller.run(request.headers['x-bot-id'], answer, handler, call, response)
  })
}

/**
 * The code of an integration works for many bots, and lines of its log don't say for which. Those of the
 * SDK's logger get the bot of the call that they were written in.
 */
function nameBots() {
  const follow = new AsyncLocalStorage()
  caller.run = (bot, ...rest) => follow.run(bot, ...rest)
  const write = process.stdout.write
  process.stdout.write = function (chunk, ...rest) {
    const bot = follow.getStore()
    const named = bot && typeof chunk === 'string' && chunk.startsWith('{"') && !chunk.includes('"botId"')
    return write.call(this, named ? `{"botId":${JSON.stringify(bot)},${chunk.slice(1)}` : chunk, ...rest)
  }
}

async function answer(handler, call, response) {
  try {
    const result = (await handler(call)) ?? {}
    response.writeHead(result.status ?? 200, result.headers)
    response.end(textOf(result.body))
  } catch (error) {
    console.error(describe(error))
    if (response.headersSent) return response.destroy()
    response.writeHead(500, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ error: String(error?.message ?? error) }))
  }
}

function textOf(body) {
  if (body === undefined || body === null) return '{}'
  return typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
}

/** An error for the log. A bundle is often one very long line, which may be quoted in the middle. */
function describe(error) {
  const text = String(error?.stack ?? error)
  return text.length > 4000 ? `${String(error).slice(0, 2000)}\n${text.slice(-2000)}` : text
}
