// A bundle's handler on loopback and nothing around it: `node -e THIS BUNDLE`. Prints its port.
'use strict'
const http = require('node:http')
const { handler } = require(process.argv[1])

const server = http.createServer((request, response) => {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', async () => {
    const { method, url, headers } = request
    const body = Buffer.concat(chunks).toString('utf8')
    const answer = (await handler({ method, path: url, query: '', headers, body })) ?? {}
    const text = answer.body ?? '{}'
    // Chunks are more than the load understands.
    response.writeHead(answer.status ?? 200, { ...answer.headers, 'content-length': Buffer.byteLength(text) })
    response.end(text)
  })
})
server.listen({ host: '127.0.0.1', port: 0 }, () => console.log(server.address().port))
