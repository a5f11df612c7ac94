// Conversations: runtime.md §§ 3, 4, 9.

import { assert, every, nobody, once, ok, raw, recent, refusedRaw, sleep, unique } from '../lib/harness.mjs'

every('a conversation is created as asked and read back', ['createConversation', 'getConversation'], async (w) => {
  const { client } = await w.asBot()
  const { conversation } = await client.createConversation({ channel: 'channel', tags: { topic: 'sales', empty: '' } })
  assert.match(conversation.id, /^conv_[0-9A-HJKMNP-TV-Z]{26}$/)
  assert.equal(conversation.channel, 'channel')
  assert.equal(conversation.integration, '', 'a bot without integrationName owns the conversation itself')
  assert.deepEqual(conversation.tags, { topic: 'sales' }, 'tags with an empty value are dropped')
  assert.equal(conversation.messageCount, 0)
  assert.equal(conversation.createdAt, conversation.updatedAt)
  recent(conversation.createdAt)
  assert.deepEqual((await client.getConversation({ id: conversation.id })).conversation, conversation)
})

every('an unknown conversation is not found', 'getConversation', async (w) => {
  const { client } = await w.asBot()
  const id = nobody('conv')
  await w.refused('ResourceNotFound', client.getConversation({ id }))
  await w.refused('ResourceNotFound', client.updateConversation({ id, tags: {} }))
  await w.refused('ResourceNotFound', client.deleteConversation({ id }))
  await w.refused('ResourceNotFound', client.getConversation({ id: nobody('user') }))
  await w.refused('ResourceNotFound', client.getConversation({ id: 'short' }))
})

every('a conversation of another bot is not found', 'getConversation', async (w) => {
  const { conversation } = await w.scene()
  const { client } = await w.asBot()
  await w.refused('ResourceNotFound', client.getConversation({ id: conversation.id }))
  await w.refused('ResourceNotFound', client.updateConversation({ id: conversation.id, tags: { a: 'b' } }))
  await w.refused('ResourceNotFound', client.deleteConversation({ id: conversation.id }))
  assert.deepEqual((await client.listConversations({})).conversations, [])
})

every('creating with wrong fields is refused', 'createConversation', async (w) => {
  const { client } = await w.asBot()
  await w.refused('InvalidPayload', client.createConversation({ tags: {} }))
  await w.refused('InvalidPayload', client.createConversation({ channel: 'channel' }))
  await w.refused('InvalidPayload', client.createConversation({ channel: 7, tags: {} }))
  await w.refused('InvalidPayload', client.createConversation({ channel: 'c'.repeat(201), tags: {} }))
  await w.refused('InvalidPayload', client.createConversation({ channel: 'c', tags: { a: 'x'.repeat(501) } }))
  await w.refused('InvalidPayload', client.createConversation({ channel: 'c', tags: { a: 1 } }))
  const many = Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`k${i}`, 'v']))
  await w.refused('InvalidPayload', client.createConversation({ channel: 'c', tags: many }))
  const longest = { a: 'é'.repeat(500) }
  const { conversation } = await client.createConversation({ channel: 'c', tags: longest })
  assert.deepEqual(conversation.tags, longest)
})

every('an unknown integrationName is a reference not found', 'createConversation', async (w) => {
  const { client } = await w.asBot()
  const wanted = { channel: 'channel', tags: {}, integrationName: 'not-installed' }
  await w.refused('ReferenceNotFound', client.createConversation(wanted))
  await w.refused('ReferenceNotFound', client.getOrCreateConversation({ ...wanted, tags: { a: '1' } }))
})

every('update merges tags and bumps updatedAt', 'updateConversation', async (w) => {
  const { client } = await w.asBot()
  const { conversation } = await client.createConversation({ channel: 'c', tags: { a: '1', b: '2', c: '3' } })
  await sleep(5)
  const { conversation: updated } = await client.updateConversation({
    id: conversation.id,
    tags: { a: 'new', b: '', d: '4' },
  })
  assert.deepEqual(updated.tags, { a: 'new', c: '3', d: '4' })
  assert.ok(updated.updatedAt > conversation.updatedAt)
  assert.equal(updated.createdAt, conversation.createdAt)
  assert.deepEqual((await client.getConversation({ id: conversation.id })).conversation, updated)
})

once('update: null removes a tag, currentTaskId is set and cleared, properties are replaced as a whole', async (w) => {
  const { bot, client } = await w.asBot()
  const { conversation } = await client.createConversation({ channel: 'c', tags: { a: '1' }, properties: { x: '1', y: '2' } })
  assert.deepEqual(conversation.properties, { x: '1', y: '2' })
  const { id } = conversation
  const made = await ok('POST', '/v1/chat/tasks', { botId: bot.id, body: { type: 't', conversationId: id } })
  const task = made.task.id
  const set = await client.updateConversation({ id, tags: { a: null }, currentTaskId: task, properties: { z: '3' } })
  assert.deepEqual(set.conversation.tags, {})
  assert.equal(set.conversation.currentTaskId, task)
  assert.deepEqual(set.conversation.properties, { z: '3' })
  await w.refused('ReferenceNotFound', client.updateConversation({ id, currentTaskId: nobody('task') }))
  const cleared = await client.updateConversation({ id, currentTaskId: '' })
  assert.equal(cleared.conversation.currentTaskId, undefined)
  assert.deepEqual(cleared.conversation.properties, { z: '3' }, 'what is absent is kept')
})

every('a message bumps the conversation and its count', 'createMessage', async (w) => {
  const { client, conversation, say } = await w.scene()
  await sleep(5)
  const message = await say('one')
  await say('two')
  const { conversation: after } = await client.getConversation({ id: conversation.id })
  assert.equal(after.messageCount, 2)
  assert.ok(after.updatedAt >= message.createdAt && after.updatedAt > conversation.updatedAt)
  await client.deleteMessage({ id: message.id })
  assert.equal((await client.getConversation({ id: conversation.id })).conversation.messageCount, 1)
})

every('delete takes messages, participants and states along, twice is not found', 'deleteConversation', async (w) => {
  const { client, conversation, user, say } = await w.scene()
  const message = await say('bye')
  await client.setState({ type: 'conversation', id: conversation.id, name: 's', payload: { a: 1 } })
  assert.deepEqual(await client.deleteConversation({ id: conversation.id }), {})
  await w.refused('ResourceNotFound', client.getConversation({ id: conversation.id }))
  await w.refused('ResourceNotFound', client.getMessage({ id: message.id }))
  await w.refused('ResourceNotFound', client.getState({ type: 'conversation', id: conversation.id, name: 's' }))
  await w.refused('ResourceNotFound', client.listParticipants({ id: conversation.id }))
  await w.refused('ResourceNotFound', client.deleteConversation({ id: conversation.id }))
  assert.equal((await client.getUser({ id: user.id })).user.id, user.id, 'the user stays')
})

every('get-or-create finds by the complete tag set and the channel', 'getOrCreateConversation', async (w) => {
  const { client } = await w.asBot()
  const tags = { thread: unique() }
  const first = await client.getOrCreateConversation({ channel: 'channel', tags })
  assert.equal(first.meta.created, true)
  const again = await client.getOrCreateConversation({ channel: 'channel', tags })
  assert.equal(again.meta.created, false)
  assert.deepEqual(again.conversation, first.conversation)
  const more = await client.getOrCreateConversation({ channel: 'channel', tags: { ...tags, extra: '1' } })
  assert.equal(more.meta.created, true, 'an extra tag is another conversation')
  const elsewhere = await client.getOrCreateConversation({ channel: 'direct', tags })
  assert.equal(elsewhere.meta.created, true, 'another channel is another conversation')
  await client.updateConversation({ id: first.conversation.id, tags: { added: 'later' } })
  const third = await client.getOrCreateConversation({ channel: 'channel', tags })
  assert.equal(third.meta.created, true, 'an extra stored tag prevents the match')
})

every('get-or-create without any tag always creates', 'getOrCreateConversation', async (w) => {
  const { client } = await w.asBot()
  const one = await client.getOrCreateConversation({ channel: 'channel', tags: {} })
  const two = await client.getOrCreateConversation({ channel: 'channel', tags: { gone: '' } })
  assert.equal(one.meta.created && two.meta.created, true)
  assert.notEqual(one.conversation.id, two.conversation.id)
})

every('get-or-create compares only discriminateByTags', ['getOrCreateConversation', '>=1.16'], async (w) => {
  const { client } = await w.asBot()
  const id = unique()
  const call = (tags, discriminateByTags) => client.getOrCreateConversation({ channel: 'c', tags, discriminateByTags })
  const first = await call({ id, mood: 'good' }, ['id'])
  const second = await call({ id, mood: 'bad' }, ['id'])
  assert.equal(second.conversation.id, first.conversation.id)
  assert.deepEqual(second.conversation.tags, { id, mood: 'good' }, 'what is found stays as it is')
  assert.equal(second.meta.created, false)
  const empty = await call({ id, mood: 'bad' }, [])
  assert.equal(empty.meta.created, true, 'an empty list is no list: the complete sets differ')
  const lacking = await call({ id, other: 'x' }, ['id', 'mood'])
  assert.equal(lacking.meta.created, true, 'a listed name without a tag matches only those that lack it')
  const found = await call({ id }, ['id', 'mood'])
  assert.equal(found.conversation.id, lacking.conversation.id)
})

every('get-or-create is atomic: many at once make one', 'getOrCreateConversation', async (w) => {
  const { client } = await w.asBot()
  const tags = { burst: unique() }
  const all = await Promise.all(
    Array.from({ length: 24 }, () => client.getOrCreateConversation({ channel: 'channel', tags })),
  )
  assert.equal(new Set(all.map((one) => one.conversation.id)).size, 1)
  assert.equal(all.filter((one) => one.meta.created).length, 1)
})

every('list filters by tags, all of them, exactly', 'listConversations', async (w) => {
  const { client } = await w.asBot()
  const make = async (tags) => (await client.createConversation({ channel: 'c', tags })).conversation.id
  const both = await make({ a: '1', 'dotted.key': 'z', 'ns:id': 'ü b&c=d' })
  const one = await make({ a: '1' })
  await make({ a: 'A' })
  const list = async (tags) => (await client.listConversations({ tags })).conversations.map((c) => c.id)
  assert.deepEqual(await list({ a: '1' }), [one, both])
  assert.deepEqual(await list({ 'dotted.key': 'z' }), [both])
  assert.deepEqual(await list({ 'ns:id': 'ü b&c=d' }), [both])
  assert.deepEqual(await list({ a: '1', 'dotted.key': 'z' }), [both])
  assert.deepEqual(await list({ a: '2' }), [])
  assert.deepEqual(await list({ missing: 'x' }), [])
})

every('list filters by participants: all of those given', 'listConversations', async (w) => {
  const { client, conversation, user } = await w.scene()
  const { user: second } = await client.createUser({ tags: {} })
  const { conversation: other } = await client.createConversation({ channel: 'c', tags: {} })
  await client.addParticipant({ id: conversation.id, userId: user.id })
  await client.addParticipant({ id: conversation.id, userId: second.id })
  await client.addParticipant({ id: other.id, userId: user.id })
  const list = async (participantIds) =>
    (await client.listConversations({ participantIds })).conversations.map((c) => c.id)
  assert.deepEqual(await list([user.id]), [other.id, conversation.id])
  assert.deepEqual(await list([user.id, second.id]), [conversation.id])
  assert.deepEqual(await list([nobody('user')]), [], 'unknown ids give an empty list')
})

every('list filters by channel and by integration', ['listConversations', '>=0.41'], async (w) => {
  const { bot, client } = await w.asBot()
  const integration = await w.newIntegration()
  const { alias } = await w.install(bot, integration)
  const own = (await client.createConversation({ channel: 'one', tags: {} })).conversation.id
  const theirs = (
    await w.asIntegration(bot, integration).createConversation({ channel: 'direct', tags: {} })
  ).conversation.id
  const list = async (filter) => (await client.listConversations(filter)).conversations.map((c) => c.id)
  assert.deepEqual(await list({ channel: 'one' }), [own])
  assert.deepEqual(await list({ channel: 'direct' }), [theirs])
  assert.deepEqual(await list({ integrationName: alias }), [theirs])
  assert.deepEqual(await list({ integrationName: alias, channel: 'one' }), [])
  assert.deepEqual(await list({ integrationName: 'nope' }), [])
  assert.deepEqual(await list({}), [theirs, own])
})

once('list filters by dates and message counts, inclusive', async (w) => {
  const { bot, client } = await w.asBot()
  const made = []
  const { user } = await client.createUser({ tags: {} })
  for (let n = 0; n < 3; n++) {
    const { conversation } = await client.createConversation({ channel: 'c', tags: {} })
    for (let i = 0; i < n; i++) {
      await client.createMessage({ conversationId: conversation.id, userId: user.id, type: 'text', payload: {}, tags: {} })
    }
    made.push(conversation)
    await sleep(5)
  }
  const [a, b, c] = made
  const list = async (filter) => (await client.listConversations(filter)).conversations.map((x) => x.id)
  assert.deepEqual(await list({ afterDate: b.createdAt }), [c.id, b.id])
  assert.deepEqual(await list({ beforeDate: b.createdAt }), [b.id, a.id])
  assert.deepEqual(await list({ afterDate: b.createdAt, beforeDate: b.createdAt }), [b.id])
  assert.deepEqual(await list({ minMessageCount: 1 }), [c.id, b.id])
  assert.deepEqual(await list({ maxMessageCount: 1 }), [b.id, a.id])
  assert.deepEqual(await list({ minMessageCount: 1, maxMessageCount: 1 }), [b.id])
  assert.deepEqual(await list({ minMessageCount: 0, maxMessageCount: 0 }), [a.id])
  const bad = await raw('GET', '/v1/chat/conversations?afterDate=yesterday', { botId: bot.id })
  assert.equal(bad.status, 400)
  assert.ok(['InvalidQuery', 'InvalidPayload'].includes(bad.body.type), bad.text)
})

every('list sorts by creation or latest activity, newest first by default', 'listConversations', async (w) => {
  const { client } = await w.asBot()
  const ids = []
  for (let n = 0; n < 3; n++) {
    ids.push((await client.createConversation({ channel: 'c', tags: {} })).conversation.id)
    await sleep(3)
  }
  await client.updateConversation({ id: ids[0], tags: { touched: 'yes' } })
  const list = async (sort) => (await client.listConversations(sort)).conversations.map((c) => ids.indexOf(c.id))
  assert.deepEqual(await list({}), [2, 1, 0])
  assert.deepEqual(await list({ sortField: 'createdAt' }), [2, 1, 0])
  assert.deepEqual(await list({ sortField: 'createdAt', sortDirection: 'asc' }), [0, 1, 2])
  assert.deepEqual(await list({ sortField: 'updatedAt' }), [0, 2, 1])
  assert.deepEqual(await list({ sortField: 'updatedAt', sortDirection: 'asc' }), [1, 2, 0])
})

once('an unknown sort field or direction is an invalid query', async (w) => {
  const { id: botId } = await w.newBot()
  await refusedRaw('InvalidQuery', 'GET', '/v1/chat/conversations?sortField=name', { botId })
  await refusedRaw('InvalidQuery', 'GET', '/v1/chat/conversations?sortField=createdAt&sortDirection=up', { botId })
})

every('the list helper collects every page', 'listConversations', async (w) => {
  const { client } = await w.asBot()
  const made = new Set()
  for (let n = 0; n < 45; n++) made.add((await client.createConversation({ channel: 'c', tags: {} })).conversation.id)
  const all = await client.list.conversations({}).collect()
  assert.equal(all.length, 45)
  assert.deepEqual(new Set(all.map((c) => c.id)), made)
})

once('currentWorkflowId follows the conversation’s latest active workflow', async (w) => {
  const { client, conversation } = await w.scene()
  const { id: conversationId } = conversation
  const current = async () => (await client.getConversation({ id: conversationId })).conversation.currentWorkflowId
  assert.equal(await current(), undefined)
  const { workflow } = await client.createWorkflow({ name: 'w', status: 'listening', conversationId })
  assert.equal(await current(), workflow.id)
  await client.updateWorkflow({ id: workflow.id, status: 'completed' })
  assert.equal(await current(), undefined)
})

once('201 for create, 200 for everything else', async (w) => {
  const { id: botId } = await w.newBot()
  const made = await raw('POST', '/v1/chat/conversations', { botId, body: { channel: 'c', tags: {} } })
  assert.equal(made.status, 201)
  const got = await raw('POST', '/v1/chat/conversations/get-or-create', { botId, body: { channel: 'c', tags: { a: '1' } } })
  assert.equal(got.status, 200)
  const gone = await raw('DELETE', `/v1/chat/conversations/${made.body.conversation.id}`, { botId })
  assert.equal(gone.status, 200)
  assert.equal(gone.text, '{}')
  await ok('GET', `/v1/chat/conversations/${got.body.conversation.id}`, { botId })
})
