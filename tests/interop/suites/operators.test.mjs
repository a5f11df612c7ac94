// What operators ask a server, without a token: ours.

import { assert, ok, once, raw, refusedRaw, nobody } from '../lib/harness.mjs'
import { runtimeOperations } from '../lib/contract.mjs'

const token = null

once('the server is alive, ready, and says what it is', async () => {
  const health = await ok('GET', '/health', { token })
  assert.equal(health.status, 'ok')
  assert.match(health.version, /^\d+\.\d+\.\d+/)
  await ok('GET', '/ready', { token })
})

once('the metrics count requests, and tell no tokens or ids', async (w) => {
  const { bot, client } = await w.asBot()
  await client.listUsers({})
  const { text, headers } = await raw('GET', '/metrics', { token })
  assert.match(headers['content-type'], /^text\/plain/)
  assert.match(text, /listUsers/)
  assert.ok(!text.includes(bot.id) && !text.includes('bp_pat_'))
})

once('the description has every operation of the runtime API', async () => {
  const document = await ok('GET', '/openapi.json', { token })
  assert.match(document.openapi, /^3\./)
  const ids = Object.values(document.paths).flatMap((item) => Object.values(item)).map((one) => one.operationId)
  assert.deepEqual(runtimeOperations.filter((id) => !ids.includes(id)), [])
})

once('an integration’s icon and readme are served to everybody, and harmlessly', async (w) => {
  const encoded = (text) => Buffer.from(text).toString('base64')
  const [icon, readme] = ['<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', '# Read me']
  const integration = await w.newIntegration({ icon: encoded(icon), readme: encoded(readme) })
  const path = (url) => new URL(url).pathname
  const drawn = await raw('GET', path(integration.iconUrl), { token })
  assert.equal(drawn.text, icon)
  assert.match(drawn.headers['content-type'], /^image\/svg\+xml/)
  assert.match(drawn.headers['content-security-policy'], /sandbox/)
  assert.equal((await raw('GET', path(integration.readmeUrl), { token })).text, readme)
  await refusedRaw('ResourceNotFound', 'GET', `/v1/assets/integrations/${nobody('intver')}/icon`, { token })
})
