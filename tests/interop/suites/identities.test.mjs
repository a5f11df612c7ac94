// Bot view and integration view: auth-and-identity.md §§ 4, 5.

import { assert, every, nobody, ok, once, pages, raw, refusedRaw, sleep, unique } from '../lib/harness.mjs'

/** A bot with one integration installed under its own name, and a client for each side. */
async function both(w) {
  const bot = await w.newBot()
  const integration = await w.newIntegration()
  const { alias } = await w.install(bot, integration)
  return { bot, integration, alias, us: (await w.asBot(bot)).client, them: w.asIntegration(bot, integration) }
}

every('what an integration creates is its instance’s', 'createConversation', async (w) => {
  const { us, them, alias } = await both(w)
  const { conversation } = await them.createConversation({ channel: 'channel', tags: { id: '1' } })
  assert.equal(conversation.integration, alias)
  assert.deepEqual(conversation.tags, { id: '1' }, 'bare names in its own view')
  const { conversation: seen } = await us.getConversation({ id: conversation.id })
  assert.deepEqual(seen.tags, { [`${alias}:id`]: '1' }, 'prefixed names in the bot’s view')
  assert.equal(seen.integration, alias)
  await w.refused('InvalidPayload', them.createConversation({ channel: 'undeclared', tags: {} }))
})

every('an integration sees only its own', 'listConversations', async (w) => {
  const { bot, us, them } = await both(w)
  const { conversation: ours } = await us.createConversation({ channel: 'c', tags: {} })
  const { user } = await us.createUser({ tags: {} })
  const { message } = await us.createMessage({
    conversationId: ours.id, userId: user.id, type: 'text', payload: {}, tags: {},
  })
  await w.refused('ResourceNotFound', them.getConversation({ id: ours.id }))
  await w.refused('ResourceNotFound', them.updateConversation({ id: ours.id, tags: {} }))
  await w.refused('ResourceNotFound', them.deleteConversation({ id: ours.id }))
  await w.refused('ResourceNotFound', them.listParticipants({ id: ours.id }))
  await w.refused('ResourceNotFound', them.getUser({ id: user.id }))
  await w.refused('ResourceNotFound', them.getMessage({ id: message.id }))
  await w.refused('ReferenceNotFound', them.createMessage({
    conversationId: ours.id, userId: user.id, type: 'text', payload: {}, tags: {},
  }))
  assert.deepEqual((await them.listConversations({})).conversations, [])
  assert.deepEqual((await them.listUsers({})).users, [])
  assert.deepEqual((await them.listMessages({})).messages, [])
  assert.equal((await them.getUser({ id: bot.id })).user.id, bot.id, 'the bot’s user is for everybody')
})

every('two instances see nothing of each other', 'createConversation', async (w) => {
  const bot = await w.newBot()
  const [one, two] = [await w.newIntegration(), await w.newIntegration()]
  await w.install(bot, one)
  await w.install(bot, two)
  const [first, second] = [w.asIntegration(bot, one), w.asIntegration(bot, two)]
  const tags = { id: unique() }
  const a = await first.getOrCreateConversation({ channel: 'channel', tags })
  const b = await second.getOrCreateConversation({ channel: 'channel', tags })
  assert.notEqual(a.conversation.id, b.conversation.id, 'equal tags in two owners are two conversations')
  await w.refused('ResourceNotFound', second.getConversation({ id: a.conversation.id }))
  const u = await first.getOrCreateUser({ tags })
  const v = await second.getOrCreateUser({ tags })
  assert.notEqual(u.user.id, v.user.id)
})

every('tags: a bot writes any, an integration its own; filters speak the caller’s names', 'updateConversation', async (w) => {
  const { us, them, alias } = await both(w)
  const { conversation } = await them.createConversation({ channel: 'channel', tags: { id: '1', [`${alias}:team`]: 'T' } })
  const { id } = conversation
  assert.deepEqual(conversation.tags, { id: '1', team: 'T' }, 'its own prefix is understood and not answered')
  await us.updateConversation({ id, tags: { topic: 'sales', [`${alias}:team`]: 'U', 'hitl#x': 'y' } })
  assert.deepEqual((await them.getConversation({ id })).conversation.tags, { id: '1', team: 'U' })
  const { conversation: seen } = await us.getConversation({ id })
  assert.deepEqual(seen.tags, { [`${alias}:id`]: '1', [`${alias}:team`]: 'U', topic: 'sales', 'hitl#x': 'y' })
  const find = async (client, tags) => (await client.listConversations({ tags })).conversations.map((c) => c.id)
  assert.deepEqual(await find(them, { id: '1' }), [id])
  assert.deepEqual(await find(them, { topic: 'sales' }), [])
  assert.deepEqual(await find(us, { [`${alias}:id`]: '1' }), [id])
  assert.deepEqual(await find(us, { id: '1' }), [])
  const again = await them.getOrCreateConversation({ channel: 'channel', tags: { id: '1', team: 'U' } })
  assert.equal(again.conversation.id, id, 'tags of the bot do not count in the integration’s comparison')
})

every('messages: an integration’s are incoming, a bot’s outgoing', 'createMessage', async (w) => {
  const { bot, us, them, alias } = await both(w)
  const { conversation } = await them.createConversation({ channel: 'channel', tags: {} })
  const { user } = await them.createUser({ tags: {} })
  const { message } = await them.createMessage({
    conversationId: conversation.id, userId: user.id, type: 'text', payload: { text: 'in' }, tags: { ts: '1' },
  })
  assert.equal(message.direction, 'incoming')
  assert.deepEqual(message.tags, { ts: '1' })
  const { message: reply } = await us.createMessage({
    conversationId: conversation.id, userId: bot.id, type: 'text', payload: { text: 'out' }, tags: { own: '2' },
  })
  assert.equal(reply.direction, 'outgoing')
  const { messages } = await them.listMessages({ conversationId: conversation.id })
  assert.deepEqual(messages.map((m) => [m.id, m.tags]), [[reply.id, {}], [message.id, { ts: '1' }]])
  assert.deepEqual((await us.getMessage({ id: message.id })).message.tags, { [`${alias}:ts`]: '1' })
})

every('events: bare for the integration, prefixed for the bot', 'createEvent', async (w) => {
  const { us, them, alias } = await both(w)
  const { event } = await them.createEvent({ type: 'happened', payload: { a: 1 } })
  assert.equal(event.type, 'happened')
  assert.equal((await us.getEvent({ id: event.id })).event.type, `${alias}:happened`)
  const { events } = await us.listEvents({ type: `${alias}:happened` })
  assert.deepEqual(events.map((e) => e.id), [event.id])
  const { event: own } = await us.createEvent({ type: 'mine', payload: {} })
  await w.refused('ResourceNotFound', them.getEvent({ id: own.id }))
  assert.deepEqual((await them.listEvents({})).events.map((e) => e.id), [event.id])
})

every('states: rows of the bot and of each instance are separate', 'setState', async (w) => {
  const { bot, integration, alias, us, them } = await both(w)
  const { conversation } = await them.createConversation({ channel: 'channel', tags: {} })
  const key = { type: 'conversation', id: conversation.id, name: 'memory' }
  await us.setState({ ...key, payload: { whose: 'bot' } })
  await w.refused('ResourceNotFound', them.getState(key))
  await them.setState({ ...key, payload: { whose: 'integration' } })
  assert.deepEqual((await us.getState(key)).state.payload, { whose: 'bot' })
  assert.deepEqual((await them.getState(key)).state.payload, { whose: 'integration' })
  await them.setState({ type: 'integration', id: integration.id, name: 'token', payload: { t: 1 } })
  for (const id of [integration.id, alias, bot.id]) {
    assert.deepEqual((await them.getState({ type: 'integration', id, name: 'token' })).state.payload, { t: 1 })
  }
})

once('workflows, tag values and analytics are the bot’s', async (w) => {
  const { them } = await both(w)
  await w.refused('Forbidden', them.listWorkflows({}))
  await w.refused('Forbidden', them.createWorkflow({ name: 'w', status: 'pending' }))
  await w.refused('Forbidden', them.listTagValues({ type: 'user', key: 'k' }))
})

once('the alias header picks one of several instances', async (w) => {
  const bot = await w.newBot()
  const integration = await w.newIntegration()
  await w.install(bot, integration, 'red')
  await sleep(5)
  await w.install(bot, integration, 'blue')
  const [red, blue] = ['red', 'blue'].map((alias) => w.asIntegration(bot, integration, alias))
  assert.equal((await red.createConversation({ channel: 'channel', tags: {} })).conversation.integration, 'red')
  assert.equal((await blue.createConversation({ channel: 'channel', tags: {} })).conversation.integration, 'blue')
  const oldest = await w.asIntegration(bot, integration).createConversation({ channel: 'channel', tags: {} })
  assert.equal(oldest.conversation.integration, 'red', 'without alias the oldest')
  await w.refused('Forbidden', w.asIntegration(bot, integration, 'green').listUsers({}))
  const other = await w.newIntegration()
  await w.refused('Forbidden', w.asIntegration(bot, other, 'red').listUsers({}))
  await w.refused('Forbidden', w.asIntegration(bot, other).listUsers({}))
  const byAlias = await ok('POST', '/v1/chat/conversations', {
    botId: bot.id, headers: { 'x-integration-alias': 'blue' }, body: { channel: 'channel', tags: {} },
  })
  assert.equal(byAlias.conversation.integration, 'blue', 'the alias alone is enough')
})

once('what a bot sets for an integration’s user, the integration reads', async (w) => {
  const { us, them, alias } = await both(w)
  const { user } = await them.createUser({ tags: { id: 'U1' }, name: 'Ada' })
  await us.updateUser({ id: user.id, tags: { [`${alias}:locale`]: 'fr', vip: 'yes' } })
  const { user: seen } = await them.getUser({ id: user.id })
  assert.deepEqual(seen.tags, { id: 'U1', locale: 'fr' })
  assert.deepEqual((await us.listTagValues({ type: 'user', key: `${alias}:id` })).tags, [{ value: 'U1' }])
})

once('one call initialises an incoming message', async (w) => {
  const { us, them, alias } = await both(w)
  const [u, c, m] = [unique('u'), unique('c'), unique('m')]
  const call = () =>
    them.initializeIncomingMessage({
      user: { tags: { id: u }, discriminateByTags: ['id'], name: 'Ada' },
      conversation: { channel: 'channel', tags: { id: c }, discriminateByTags: ['id'] },
      message: { type: 'text', payload: { text: 'hi' }, tags: { id: m }, discriminateByTags: ['id'] },
    })
  const first = await call()
  assert.equal(first.user.name, 'Ada')
  assert.equal(first.conversation.integration, alias)
  assert.equal(first.message.direction, 'incoming')
  assert.equal(first.message.userId, first.user.id)
  assert.equal(first.message.conversationId, first.conversation.id)
  const second = await call()
  assert.deepEqual([second.user.id, second.conversation.id, second.message.id],
    [first.user.id, first.conversation.id, first.message.id])
  const { participants } = await us.listParticipants({ id: first.conversation.id })
  assert.deepEqual(participants.map((p) => p.id), [first.user.id])
  assert.equal((await us.listMessages({ conversationId: first.conversation.id })).messages.length, 1)
  const silent = await them.initializeIncomingMessage({ userId: first.user.id, conversationId: first.conversation.id })
  assert.equal(silent.message, undefined)
})

once('an initialisation is all or nothing and says exactly who and where', async (w) => {
  const { us, them } = await both(w)
  const user = { tags: { id: unique() }, discriminateByTags: ['id'] }
  const conversation = { channel: 'channel', tags: { id: unique() }, discriminateByTags: ['id'] }
  await w.refused('InvalidPayload', them.initializeIncomingMessage({ conversation }))
  await w.refused('InvalidPayload', them.initializeIncomingMessage({ user }))
  await w.refused('InvalidPayload', them.initializeIncomingMessage({ user, userId: nobody('user'), conversation }))
  await w.refused('ReferenceNotFound', them.initializeIncomingMessage({ user, conversationId: nobody('conv') }))
  await w.refused('ReferenceNotFound', them.initializeIncomingMessage({ userId: nobody('user'), conversation }))
  await w.refused('InvalidPayload', them.initializeIncomingMessage({ user, conversation: { ...conversation, channel: 'undeclared' } }))
  assert.deepEqual((await them.listUsers({})).users, [])
  assert.deepEqual((await them.listConversations({})).conversations, [])
  await w.refused('Forbidden', us.initializeIncomingMessage({ user, conversation }))
})

once('an integration’s lists page through its own only', async (w) => {
  const { bot, us, them, integration } = await both(w)
  const mine = new Set()
  for (let n = 0; n < 12; n++) {
    mine.add((await them.createConversation({ channel: 'channel', tags: {} })).conversation.id)
    await us.createConversation({ channel: 'c', tags: {} })
  }
  const headers = { 'x-integration-id': integration.id }
  const chunks = await pages(async (token) => {
    const next = token ? `&nextToken=${encodeURIComponent(token)}` : ''
    const page = await ok('GET', `/v1/chat/conversations?pageSize=5${next}`, { botId: bot.id, headers })
    return { items: page.conversations.map((c) => c.id), token: page.meta.nextToken }
  })
  assert.deepEqual(chunks.map((c) => c.length), [5, 5, 2])
  assert.deepEqual(new Set(chunks.flat()), mine)
  const { meta } = await ok('GET', '/v1/chat/conversations?pageSize=5', { botId: bot.id, headers })
  await refusedRaw('InvalidQuery', 'GET', `/v1/chat/conversations?pageSize=5&nextToken=${encodeURIComponent(meta.nextToken)}`, {
    botId: bot.id,
  })
})

once('gateway headers from outside mean nothing', async (w) => {
  const { bot, client } = await w.asBot()
  const { user } = await client.createUser({ tags: {} })
  const answer = await raw('GET', `/v1/chat/users/${user.id}`, {
    botId: bot.id,
    headers: { 'x-user-id': nobody('user'), 'x-user-role': 'viewer', 'x-integration-name': 'slack' },
  })
  assert.equal(answer.status, 200)
})
