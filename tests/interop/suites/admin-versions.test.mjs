// Versions of bots, shareable ids, signing secrets: admin.md § 5.3.

import { assert, every, nobody, ok, once, raw, refusedRaw, server, unique } from '../lib/harness.mjs'

const admin = { headers: { 'x-workspace-id': server.workspaceId, 'x-multiple-integrations': 'true' } }
const call = (method, path, body) => ok(method, `/v1/admin/${path}`, { ...admin, ...(body && { body }) })
const schema = { type: 'object' }

every('a bot is what it was when one of its versions is deployed', 'createBotVersion', async (w) => {
  const client = w.asAdmin()
  const integration = await w.newIntegration()
  const states = { memory: { type: 'user', schema } }
  const bot = await w.newBot({ states, code: 'first', secrets: { KEY: 'hush' }, tags: { a: '1' } })
  await w.install(bot, integration, 'crm', { configuration: { depth: 1 } })
  const { version } = await client.createBotVersion({ id: bot.id, name: 'first', description: 'as it was' })
  assert.deepEqual((await client.listBotVersions({ id: bot.id })).versions, [version])
  const { url } = await client.getBotVersion({ id: bot.id, versionId: version.id })
  const { pathname } = new URL(url)
  const content = await raw('GET', pathname, { token: null })
  assert.equal(content.status, 200)
  assert.deepEqual([content.body.code, Object.keys(content.body.definition.states)], ['first', ['memory']])
  assert.ok(!content.text.includes('hush'), 'secrets are no part of it')
  await refusedRaw('ResourceNotFound', 'GET', pathname.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')), { token: null })

  await call('PUT', `bots/${bot.id}`, { states: { memory: null, other: { type: 'bot', schema } }, code: 'second', integrations: { crm: null } })
  assert.deepEqual(await client.deployBotVersion({ id: bot.id, versionId: version.id }), {})
  const { bot: after } = await call('GET', `bots/${bot.id}`)
  assert.deepEqual([after.states, Object.keys(after.integrations), after.secrets, after.tags], [states, ['crm'], ['KEY'], { a: '1' }])
  assert.deepEqual(after.integrations.crm.configuration, { depth: 1 })
  assert.equal((await call('GET', `bots/${bot.id}/bot-json`)).code, 'first')
  await w.refused('ResourceNotFound', client.deployBotVersion({ id: bot.id, versionId: nobody('botver') }))
  await w.refused('ResourceNotFound', client.getBotVersion({ id: bot.id, versionId: nobody('botver') }))
})

once('a bot is copied by its JSON', async (w) => {
  const from = await w.newBot({ events: { happened: { schema } }, code: 'copied' })
  const to = await w.newBot()
  const botJson = await call('GET', `bots/${from.id}/bot-json`)
  await call('POST', `bots/${to.id}/publish-from-bot-json`, { botJson })
  assert.deepEqual(Object.keys((await call('GET', `bots/${to.id}`)).bot.events), ['happened'])
  assert.deepEqual(await call('GET', `bots/${to.id}/bot-json`), botJson)
  const bad = { botJson: { definition: { events: { 'not a key': { schema } } } } }
  await refusedRaw('InvalidIdentifier', 'POST', `/v1/admin/bots/${to.id}/publish-from-bot-json`, { ...admin, body: bad })
  await refusedRaw('InvalidPayload', 'POST', `/v1/admin/bots/${to.id}/publish-from-bot-json`, { ...admin, body: { botJson: {} } })
})

once('an instance is given a name for people, and another one', async (w) => {
  const [bot, integration] = [await w.newBot(), await w.newIntegration()]
  await w.install(bot, integration, 'crm')
  const path = `bots/${bot.id}/integrations/${integration.id}/shareable-id`
  await refusedRaw('ResourceNotFound', 'GET', `/v1/admin/${path}`, admin)
  const { shareableId } = await call('POST', path, {})
  assert.match(shareableId, /^[a-z]+-[a-z]+-\d+-[0-9a-f]+$/)
  assert.deepEqual(await call('GET', `${path}?integrationInstanceAlias=crm`), { shareableId, isExpired: false })
  assert.notEqual((await call('POST', path, {})).shareableId, shareableId)
  await call('DELETE', path)
  await refusedRaw('ResourceNotFound', 'DELETE', `/v1/admin/${path}`, admin)
  await refusedRaw('ResourceNotFound', 'GET', `/v1/admin/${path}?integrationInstanceAlias=${unique('no')}`, admin)
})

once('signing secrets are rotated', async (w) => {
  const [bot, integration] = [await w.newBot(), await w.newIntegration()]
  const { newSigningSecret } = await call('POST', `bots/${bot.id}/signing-secrets/rotate`, {})
  assert.notEqual(newSigningSecret, bot.signingSecret)
  assert.equal((await call('GET', `bots/${bot.id}`)).bot.signingSecret, newSigningSecret)
  const rotated = await call('POST', `integrations/${integration.id}/signing-secrets/rotate`, {})
  assert.ok(rotated.newSigningSecret.length >= 32)
  assert.equal((await call('GET', `integrations/${integration.id}`)).integration.signingSecret, '')
  await refusedRaw('ResourceNotFound', 'POST', `/v1/admin/bots/${nobody('bot')}/signing-secrets/rotate`, { ...admin, body: {} })
})

every('scripts are run', 'runVrl', async (w) => {
  const ran = await w.asAdmin().runVrl({ data: { a: 'b' }, script: '.c = upcase(.a)' })
  assert.deepEqual(ran, { data: { a: 'b', c: 'B' }, result: 'B' })
  await w.refused('Runtime', w.asAdmin().runVrl({ data: {}, script: 'nonsense(' }), /line 1/)
})
