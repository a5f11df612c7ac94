// A proxy between the clients and the server that checks every answer against the documents.
// It passes requests and answers on byte for byte; what it finds wrong, it remembers.

import http from 'node:http'
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import { operationOf, violations } from './contract.mjs'

const DECODERS = { gzip: gunzipSync, br: brotliDecompressSync, deflate: inflateSync }

export class Proxy {
  #agent = new http.Agent({ keepAlive: true, maxSockets: 64 })
  #found = []
  /** `success operation client` for each operation answered 2xx, e.g. `success getBot 1.45`. */
  covered = new Set()
  #refusals = new Map()

  constructor(target) {
    this.target = new URL(target)
    this.server = http.createServer((request, response) => this.#pass(request, response))
    // Idle sockets stay open: a client must never meet a connection that closes under it.
    this.server.keepAliveTimeout = 0
  }

  async start() {
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    this.url = `http://127.0.0.1:${this.server.address().port}`
  }

  stop() {
    this.#agent.destroy()
    this.server.closeAllConnections()
    this.server.close()
  }

  /** The violations found since the last call. */
  take() {
    return this.#found.splice(0)
  }

  /** Remembers that a client made its own error class of the refusal with this id. */
  understood(errorId) {
    const refused = this.#refusals.get(errorId)
    if (refused) this.covered.add(`refused ${refused}`)
  }

  #pass(request, response) {
    const chunks = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', () => this.#forward(request, Buffer.concat(chunks), response))
  }

  #forward(request, body, response) {
    const headers = { ...request.headers, host: this.target.host }
    const forClient = headers['x-interop-client'] ?? 'http'
    delete headers['x-interop-client']
    delete headers.connection
    if (body.length > 0 || headers['transfer-encoding']) headers['content-length'] = body.length
    delete headers['transfer-encoding']
    const upstream = http.request(
      {
        host: this.target.hostname,
        port: this.target.port,
        method: request.method,
        path: request.url,
        headers,
        agent: this.#agent,
      },
      (answer) => {
        const chunks = []
        answer.on('data', (chunk) => chunks.push(chunk))
        answer.on('end', () => {
          const bytes = Buffer.concat(chunks)
          this.#check(request, forClient, answer, bytes)
          const out = { ...answer.headers, 'content-length': bytes.length }
          delete out['transfer-encoding']
          delete out.connection
          response.writeHead(answer.statusCode, out).end(request.method === 'HEAD' ? undefined : bytes)
        })
      },
    )
    upstream.on('error', (error) => {
      this.#found.push(`${request.method} ${request.url}: the server broke the connection (${error.message})`)
      response.destroy()
    })
    upstream.end(body)
  }

  #check(request, forClient, answer, bytes) {
    const decode = DECODERS[answer.headers['content-encoding']] ?? ((b) => b)
    const seen = {
      method: request.method,
      target: request.url,
      status: answer.statusCode,
      headers: answer.headers,
      text: decode(bytes).toString('utf8'),
    }
    const wrong = violations(seen)
    this.#found.push(...wrong)
    const operation = operationOf(seen.method, seen.target)
    if (!operation || wrong.length > 0) return
    const what = `${operation.id} ${forClient}`
    if (seen.status < 300) this.covered.add(`success ${what}`)
    else if (seen.status >= 400) this.#refusals.set(JSON.parse(seen.text).id, what)
  }
}
