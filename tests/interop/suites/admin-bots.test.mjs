// Bots and their keys: admin.md §§ 3, 5.

import { assert, every, nobody, ok, once, raw, recent, refusedRaw, server, sleep, unique } from '../lib/harness.mjs'

every('a bot is created with every field its schema wants', 'createBot', async (w) => {
  const client = w.asAdmin()
  const name = unique('bot')
  const { bot } = await client.createBot({ name })
  assert.match(bot.id, /^bot_[0-9A-HJKMNP-TV-Z]{26}$/)
  assert.equal(bot.name, name)
  assert.equal(bot.dev, false)
  assert.equal(bot.status, 'active')
  assert.deepEqual([bot.integrations, bot.plugins, bot.states, bot.events, bot.actions, bot.tags], [{}, {}, {}, {}, {}, {}])
  assert.deepEqual(bot.subscriptions, { events: null })
  assert.deepEqual([bot.medias, bot.secrets], [[], []])
  assert.equal(bot.type, 'adk')
  assert.equal(bot.createdBy, (await client.getAccount({})).account.id)
  recent(bot.createdAt)
  assert.deepEqual((await client.getBot({ id: bot.id })).bot, bot)
  assert.ok((await client.createBot({})).bot.name.length > 0, 'a name is invented')
  await w.refused('InvalidPayload', client.createBot({ name: '' }))
})

every('a bot is deleted with everything in it', 'deleteBot', async (w) => {
  const admin = w.asAdmin()
  const { bot, client, conversation } = await w.scene()
  assert.deepEqual(await admin.deleteBot({ id: bot.id }), {})
  await w.refused('ResourceNotFound', admin.getBot({ id: bot.id }))
  await w.refused('ResourceNotFound', admin.deleteBot({ id: bot.id }))
  await w.refused('ResourceNotFound', client.getConversation({ id: conversation.id }))
  await w.refused('ResourceNotFound', client.createUser({ tags: {} }))
})

every('unknown bots are not found', 'getBot', async (w) => {
  const client = w.asAdmin()
  for (const id of [nobody('bot'), nobody('intver'), 'nonsense']) {
    await w.refused('ResourceNotFound', client.getBot({ id }))
    await w.refused('ResourceNotFound', client.updateBot({ id, name: 'x' }))
  }
})

every('update is a patch', 'updateBot', async (w) => {
  const client = w.asAdmin()
  const schema = { type: 'object', properties: {} }
  const { bot } = await client.createBot({
    name: unique('bot'),
    states: { a: { type: 'bot', schema }, b: { type: 'user', schema, expiry: 5 } },
    events: { e: { schema } },
    configuration: { data: { k: 1 }, schema },
  })
  assert.deepEqual(bot.states, { a: { type: 'bot', schema }, b: { type: 'user', schema, expiry: 5 } })
  assert.deepEqual(bot.configuration, { data: { k: 1 }, schema })
  await sleep(5)
  const { bot: changed } = await client.updateBot({
    id: bot.id,
    name: 'renamed',
    states: { a: null, c: { type: 'conversation', schema } },
    configuration: { data: { other: 2 } },
    subscriptions: { events: { e: {} } },
  })
  assert.equal(changed.name, 'renamed')
  assert.deepEqual(changed.states, { b: { type: 'user', schema, expiry: 5 }, c: { type: 'conversation', schema } })
  assert.deepEqual(Object.keys(changed.events), ['e'], 'what is absent is kept')
  assert.deepEqual(changed.configuration, { data: { other: 2 }, schema })
  assert.deepEqual(changed.subscriptions, { events: { e: {} } })
  assert.ok(changed.updatedAt > bot.updatedAt)
  assert.deepEqual((await client.getBot({ id: bot.id })).bot, changed)
})

every('tags of a bot merge', ['updateBot', '>=0.41'], async (w) => {
  const client = w.asAdmin()
  const { bot } = await client.createBot({ name: unique('b'), tags: { a: '1', b: '2' } })
  assert.deepEqual(bot.tags, { a: '1', b: '2' })
  const { bot: changed } = await client.updateBot({ id: bot.id, tags: { a: null, c: '3' } })
  assert.deepEqual(changed.tags, { b: '2', c: '3' })
})

every('the bot’s user follows the bot’s name at creation', 'createBot', async (w) => {
  const bot = await w.newBot()
  const { client } = await w.asBot(bot)
  assert.equal((await client.getUser({ id: bot.id })).user.name, bot.name)
})

every('bots are listed as summaries, dev ones apart', 'listBots', async (w) => {
  const { id: workspaceId } = await w.asAdmin().createWorkspace({ name: unique('w') })
  const client = w.asAdmin({ workspaceId })
  const make = async (fields) => (await client.createBot({ name: unique('b'), ...fields })).bot.id
  const [one, dev] = [await make({}), await make({ dev: true })]
  await sleep(3)
  const two = await make({})
  const list = async (filter) => (await client.listBots(filter)).bots.map((b) => b.id)
  assert.deepEqual(await list({}), [two, one])
  assert.deepEqual(await list({ dev: false }), [two, one])
  assert.deepEqual(await list({ dev: true }), [dev])
  assert.deepEqual(await list({ sortField: 'createdAt', sortDirection: 'asc' }), [one, two])
  for (const id of [one, two, dev]) await client.deleteBot({ id })
  assert.deepEqual(await list({}), [])
  await client.deleteWorkspace({ id: workspaceId })
})

every('bots are filtered by tags', ['listBots', '>=1.16'], async (w) => {
  const client = w.asAdmin()
  const tags = { group: unique('g') }
  const { bot } = await client.createBot({ name: unique('b'), tags })
  assert.deepEqual((await client.listBots({ tags })).bots.map((b) => b.id), [bot.id])
})

every('many bots come in pages', 'listBots', async (w) => {
  const { id: workspaceId } = await w.asAdmin().createWorkspace({ name: unique('w') })
  const client = w.asAdmin({ workspaceId })
  for (let n = 0; n < 22; n++) await client.createBot({ name: `b${n}` })
  const all = await client.list.bots({}).collect()
  assert.equal(new Set(all.map((b) => b.id)).size, 22)
  assert.equal(all.length, 22)
})

every('a bot key is that bot and no other', 'createBotApiKey', async (w) => {
  const admin = w.asAdmin()
  const [bot, other] = [await w.newBot(), await w.newBot()]
  const key = await admin.createBotApiKey({ botId: bot.id, note: 'n' })
  assert.match(key.value, /^bp_bak_\w{32,}$/)
  assert.equal(key.note, 'n')
  const { baks } = await admin.listBotApiKeys({ botId: bot.id })
  assert.deepEqual(baks.map((one) => [one.id, one.note, 'value' in one]), [[key.id, 'n', false]])
  const client = w.client({ token: key.value, botId: bot.id })
  assert.equal((await client.getUser({ id: bot.id })).user.id, bot.id)
  const answer = await raw('GET', `/v1/chat/users/${bot.id}`, { token: key.value })
  assert.equal(answer.status, 200, 'a bot key needs no x-bot-id')
  await w.refused('Forbidden', w.client({ token: key.value, botId: other.id }).listUsers({}))
  await w.refused('Forbidden', w.asAdmin({ token: key.value }).listBots({}))
  assert.deepEqual(await admin.deleteBotApiKey({ id: key.id }), {})
  await w.refused('Unauthorized', client.getUser({ id: bot.id }))
  await w.refused('ResourceNotFound', admin.deleteBotApiKey({ id: key.id }))
  await w.refused('ResourceNotFound', admin.listBotApiKeys({ botId: nobody('bot') }))
})

every('introspect says whether the token may use the bot', 'introspect', async (w) => {
  const bot = await w.newBot()
  const client = w.client()
  const { account } = await client.getAccount({})
  assert.deepEqual(await client.introspect({ botId: bot.id }), {
    workspaceId: server.workspaceId,
    botId: bot.id,
    userId: account.id,
  })
  await w.refused('ResourceNotFound', client.introspect({ botId: nobody('bot') }))
  if (!w.since('1.16')) return
  const { value } = await w.asAdmin().createBotApiKey({ botId: bot.id })
  assert.equal((await w.client({ token: value }).introspect({ botId: bot.id })).userId, bot.id)
})

every('an integration is installed, changed and removed', 'updateBot', async (w) => {
  const client = w.asAdmin()
  const [bot, integration] = [await w.newBot(), await w.newIntegration()]
  const installed = await client.updateBot({
    id: bot.id,
    integrations: { mine: { integrationId: integration.id, enabled: true } },
  })
  const instance = installed.bot.integrations.mine
  assert.equal(instance.id, integration.id)
  assert.equal(instance.name, integration.name)
  assert.equal(instance.version, '1.0.0')
  assert.equal(instance.enabled, true)
  assert.deepEqual(instance.disabledChannels, [])
  assert.match(instance.webhookId, /^[0-9a-f-]{36}$/)
  assert.ok(instance.webhookUrl.endsWith(instance.webhookId))
  const off = await client.updateBot({ id: bot.id, integrations: { mine: { enabled: false, disabledChannels: ['direct'] } } })
  assert.equal(off.bot.integrations.mine.enabled, false)
  assert.deepEqual(off.bot.integrations.mine.disabledChannels, ['direct'])
  assert.equal(off.bot.integrations.mine.webhookId, instance.webhookId, 'stays for the life of the instance')
  const gone = await client.updateBot({ id: bot.id, integrations: { mine: null } })
  assert.deepEqual(gone.bot.integrations, {})
  await w.refused(
    'ReferenceNotFound',
    client.updateBot({ id: bot.id, integrations: { x: { integrationId: nobody('intver'), enabled: true } } }),
  )
})

once('without x-multiple-integrations instances go by the integration’s id', async (w) => {
  const [bot, integration] = [await w.newBot(), await w.newIntegration()]
  const headers = { 'x-workspace-id': server.workspaceId }
  const { bot: installed } = await ok('PUT', `/v1/admin/bots/${bot.id}`, {
    headers,
    body: { integrations: { [integration.id]: { enabled: true } } },
  })
  assert.deepEqual(Object.keys(installed.integrations), [integration.id])
  const { bot: read } = await ok('GET', `/v1/admin/bots/${bot.id}`, {
    headers: { ...headers, 'x-multiple-integrations': 'true' },
  })
  assert.deepEqual(Object.keys(read.integrations), [integration.name], 'the alias is the integration’s name')
})

once('unknown members are ignored, malformed known ones refused', async (w) => {
  const bot = await w.newBot()
  const headers = { 'x-workspace-id': server.workspaceId }
  const target = `/v1/admin/bots/${bot.id}`
  await ok('PUT', target, { headers, body: { surprise: { a: 1 }, name: 'kept' } })
  await refusedRaw('InvalidPayload', 'PUT', target, { headers, body: { name: 7 } })
  await refusedRaw('InvalidPayload', 'PUT', target, { headers, body: { states: { s: { type: 'planet', schema: {} } } } })
  assert.equal((await ok('GET', target, { headers })).bot.name, 'kept')
})

once('bots of another workspace are out of reach', async (w) => {
  const { id: workspaceId } = await w.asAdmin().createWorkspace({ name: unique('w') })
  const bot = await w.newBot()
  await w.refused('ResourceNotFound', w.asAdmin({ workspaceId }).getBot({ id: bot.id }))
  await w.refused('ResourceNotFound', w.asAdmin({ workspaceId }).deleteBot({ id: bot.id }))
  const stranger = w.asAdmin({ workspaceId: '00000000-0000-4000-8000-000000000000' })
  await w.refused('Forbidden', stranger.listBots({}))
})

once('a blocked bot reads but does not write', async (w) => {
  const { bot, client, conversation } = await w.scene()
  await w.asAdmin().updateBot({ id: bot.id, blocked: true })
  assert.equal((await client.getConversation({ id: conversation.id })).conversation.id, conversation.id)
  await w.refused('Forbidden', client.createUser({ tags: {} }))
  await w.asAdmin().updateBot({ id: bot.id, blocked: false })
  await client.createUser({ tags: {} })
})
