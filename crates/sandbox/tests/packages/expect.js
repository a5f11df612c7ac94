// Writes expected.json: what the packages themselves answer to expressions.txt. To run it again:
//   npm install lodash@4.17.21 moment@2.29.4 ms@2.1.3 uuid@8 && TZ=UTC node expect.js
const fs = require('fs')
const path = require('path')
const names = { _: 'lodash', moment: 'moment', ms: 'ms', crypto: 'crypto', path: 'path', url: 'url', querystring: 'querystring', util: 'util', events: 'events', assert: 'assert', uuid: 'uuid' }
const found = Object.values(names).map(name => require(require.resolve(name, { paths: [process.cwd(), __dirname] })))
const lines = fs.readFileSync(path.join(__dirname, 'expressions.txt'), 'utf8').split('\n').filter(line => line && !line.startsWith('# '))
const cases = lines.map(line => [line, new Function(...Object.keys(names), `return (${line})`)(...found)])
const text = cases.map(([line, value]) => `  ${JSON.stringify([line, value === undefined ? null : value])}`).join(',\n')
fs.writeFileSync(path.join(__dirname, 'expected.json'), `[\n${text}\n]\n`)
