// Messages: runtime.md §§ 5, 9; auth-and-identity.md § 5.6.

import { assert, eventually, every, nobody, ok, once, recent, refusedRaw, sleep, unique } from '../lib/harness.mjs'

every('a message is created as asked and read back', ['createMessage', 'getMessage'], async (w) => {
  const { client, conversation, user } = await w.scene()
  const payload = { text: 'Grüße 👋', nested: { list: [1, 2.5, null, true], empty: {} } }
  const { message } = await client.createMessage({
    conversationId: conversation.id,
    userId: user.id,
    type: 'text',
    payload,
    tags: { id: 'm1', gone: '' },
  })
  assert.match(message.id, /^msg_[0-9A-HJKMNP-TV-Z]{26}$/)
  assert.equal(message.conversationId, conversation.id)
  assert.equal(message.userId, user.id)
  assert.equal(message.type, 'text')
  assert.deepEqual(message.payload, payload)
  assert.deepEqual(message.tags, { id: 'm1' })
  assert.equal(message.direction, 'outgoing', 'created by the bot')
  assert.equal(message.origin, undefined)
  recent(message.createdAt)
  assert.deepEqual((await client.getMessage({ id: message.id })).message, message)
})

every('the bot speaks as the user of its own id', 'createMessage', async (w) => {
  const { bot, client, conversation } = await w.scene()
  const { message } = await client.createMessage({
    conversationId: conversation.id,
    userId: bot.id,
    type: 'text',
    payload: { text: 'hi' },
    tags: {},
  })
  assert.equal(message.userId, bot.id)
  assert.equal(message.direction, 'outgoing')
})

every('unknown references are refused', 'createMessage', async (w) => {
  const { client, conversation, user } = await w.scene()
  const message = { conversationId: conversation.id, userId: user.id, type: 'text', payload: {}, tags: {} }
  await w.refused('ReferenceNotFound', client.createMessage({ ...message, conversationId: nobody('conv') }))
  await w.refused('ReferenceNotFound', client.createMessage({ ...message, userId: nobody('user') }))
  const stranger = await w.scene()
  await w.refused('ReferenceNotFound', client.createMessage({ ...message, conversationId: stranger.conversation.id }))
  await w.refused('ReferenceNotFound', client.createMessage({ ...message, userId: stranger.user.id }))
  assert.deepEqual((await client.listMessages({ conversationId: conversation.id })).messages, [])
})

every('malformed messages are refused', 'createMessage', async (w) => {
  const { client, conversation, user } = await w.scene()
  const message = { conversationId: conversation.id, userId: user.id, type: 'text', payload: {}, tags: {} }
  for (const wrong of [
    { conversationId: undefined },
    { userId: undefined },
    { type: undefined },
    { payload: undefined },
    { tags: undefined },
    { payload: 'text' },
    { payload: [1] },
    { type: 't'.repeat(201) },
    { userId: 'short' },
    { schedule: {} },
    { schedule: { delay: 1, dateTime: '2030-01-01T00:00:00.000Z' } },
    { schedule: { dateTime: 'tomorrow, at the same time!' } },
  ]) {
    await w.refused('InvalidPayload', client.createMessage({ ...message, ...wrong }))
  }
})

every('a payload above 128 KiB is too large', 'createMessage', async (w) => {
  const { client, conversation, user } = await w.scene()
  const message = { conversationId: conversation.id, userId: user.id, type: 'text', tags: {} }
  const wrapping = JSON.stringify({ text: '' }).length
  const fits = { text: 'x'.repeat(131072 - wrapping) }
  const { message: kept } = await client.createMessage({ ...message, payload: fits })
  assert.equal(kept.payload.text.length, fits.text.length)
  await w.refused('PayloadTooLarge', client.createMessage({ ...message, payload: { text: `${fits.text}x` } }))
})

every('an unknown message is not found', 'getMessage', async (w) => {
  const { client } = await w.asBot()
  const id = nobody('msg')
  await w.refused('ResourceNotFound', client.getMessage({ id }))
  await w.refused('ResourceNotFound', client.updateMessage({ id, tags: {}, payload: {} }))
  await w.refused('ResourceNotFound', client.deleteMessage({ id }))
  const { say } = await w.scene()
  const message = await say('of another bot')
  await w.refused('ResourceNotFound', client.getMessage({ id: message.id }))
})

every('update merges tags and replaces the payload as a whole', 'updateMessage', async (w) => {
  const { client, say } = await w.scene()
  const message = await say('before', { tags: { a: '1', b: '2' } })
  await sleep(5)
  const { message: updated } = await client.updateMessage({
    id: message.id,
    tags: { a: '', c: '3' },
    payload: { markdown: 'after' },
  })
  assert.deepEqual(updated.tags, { b: '2', c: '3' })
  // The oldest client's update knows tags only.
  assert.deepEqual(updated.payload, w.since('1.16') ? { markdown: 'after' } : { text: 'before' })
  assert.equal(updated.type, 'text')
  assert.ok(updated.updatedAt > message.updatedAt)
  assert.deepEqual((await client.getMessage({ id: message.id })).message, updated)
})

every('delete is silent, twice is not found', 'deleteMessage', async (w) => {
  const { client, say } = await w.scene()
  const { id } = await say('gone')
  assert.deepEqual(await client.deleteMessage({ id }), {})
  await w.refused('ResourceNotFound', client.getMessage({ id }))
  await w.refused('ResourceNotFound', client.deleteMessage({ id }))
})

every('list is newest first and filtered by conversation and tags', 'listMessages', async (w) => {
  const { client, conversation, user, say } = await w.scene()
  const { conversation: other } = await client.createConversation({ channel: 'c', tags: {} })
  const a = await say('a', { tags: { k: '1' } })
  const b = await say('b', { tags: { k: '1', 'x.y': '2' } })
  // Two messages of one conversation are never of one instant: the second may be ahead of the clock.
  await sleep(5)
  const c = await say('c', { conversationId: other.id, tags: { k: '1' } })
  const list = async (filter) => (await client.listMessages(filter)).messages.map((m) => m.id)
  assert.deepEqual(await list({}), [c.id, b.id, a.id])
  assert.deepEqual(await list({ conversationId: conversation.id }), [b.id, a.id])
  assert.deepEqual(await list({ conversationId: conversation.id, tags: { 'x.y': '2' } }), [b.id])
  assert.deepEqual(await list({ tags: { k: '1' } }), [c.id, b.id, a.id])
  assert.deepEqual(await list({ conversationId: nobody('conv') }), [])
  assert.equal(a.userId, user.id)
})

once('list filters by dates, inclusive', async (w) => {
  const { client, conversation, say } = await w.scene()
  const a = await say('a')
  await sleep(5)
  const c = await say('b')
  await sleep(5)
  const last = await say('c')
  const list = async (filter) =>
    (await client.listMessages({ conversationId: conversation.id, ...filter })).messages.map((m) => m.id)
  assert.deepEqual(await list({ afterDate: c.createdAt }), [last.id, c.id])
  assert.deepEqual(await list({ beforeDate: c.createdAt }), [c.id, a.id])
})

every('get-or-create finds by tags over all conversations', 'getOrCreateMessage', async (w) => {
  const { client, conversation, user } = await w.scene()
  const wanted = {
    conversationId: conversation.id,
    userId: user.id,
    type: 'text',
    payload: { text: 'first' },
    tags: { id: unique() },
  }
  const first = await client.getOrCreateMessage(wanted)
  assert.equal(first.meta.created, true)
  const again = await client.getOrCreateMessage({ ...wanted, payload: { text: 'second' } })
  assert.equal(again.meta.created, false)
  assert.deepEqual(again.message, first.message, 'what is found stays as it is')
  const { conversation: other } = await client.createConversation({ channel: 'c', tags: {} })
  await w.refused(
    'AlreadyExists',
    client.getOrCreateMessage({ ...wanted, conversationId: other.id }),
    /already exists for a different conversation/,
  )
  await w.refused('ReferenceNotFound', client.getOrCreateMessage({ ...wanted, tags: { id: unique() }, conversationId: nobody('conv') }))
  await w.refused('ReferenceNotFound', client.getOrCreateMessage({ ...wanted, tags: { id: unique() }, userId: nobody('user') }))
})

every('get-or-create without any tag always creates', 'getOrCreateMessage', async (w) => {
  const { client, conversation, user } = await w.scene()
  const wanted = { conversationId: conversation.id, userId: user.id, type: 'text', payload: {}, tags: {} }
  const [one, two] = [await client.getOrCreateMessage(wanted), await client.getOrCreateMessage(wanted)]
  assert.notEqual(one.message.id, two.message.id)
  assert.equal(one.meta.created && two.meta.created, true)
})

once('get-or-create prefers the requested conversation among several matches', async (w) => {
  const { client, conversation, user, say } = await w.scene()
  const { conversation: thread } = await client.createConversation({ channel: 'c', tags: {} })
  const tags = { ts: unique() }
  const inChannel = await say('same', { tags })
  const inThread = await say('same', { tags, conversationId: thread.id })
  for (const [conversationId, expected] of [[conversation.id, inChannel], [thread.id, inThread]]) {
    const { message } = await client.getOrCreateMessage({
      conversationId, userId: user.id, type: 'text', payload: {}, tags, discriminateByTags: ['ts'],
    })
    assert.equal(message.id, expected.id)
  }
})

every('get-or-create is atomic: many at once make one', 'getOrCreateMessage', async (w) => {
  const { client, conversation, user } = await w.scene()
  const wanted = { conversationId: conversation.id, userId: user.id, type: 'text', payload: {}, tags: { id: unique() } }
  const all = await Promise.all(Array.from({ length: 24 }, () => client.getOrCreateMessage(wanted)))
  assert.equal(new Set(all.map((one) => one.message.id)).size, 1)
  assert.equal(all.filter((one) => one.meta.created).length, 1)
  assert.equal((await client.listMessages({ conversationId: conversation.id })).messages.length, 1)
})

every('messages written at once keep one order that every reader sees', 'createMessage', async (w) => {
  const { client, conversation, say } = await w.scene()
  await Promise.all(Array.from({ length: 40 }, (_, n) => say(`n${n}`)))
  const read = async () => (await client.list.messages({ conversationId: conversation.id }).collect()).map((m) => m.id)
  const [one, two] = [await read(), await read()]
  assert.equal(new Set(one).size, 40)
  assert.deepEqual(one, two)
  assert.equal((await client.getConversation({ id: conversation.id })).conversation.messageCount, 40)
})

every('a scheduled message has an id at once and is listed when due', 'createMessage', async (w) => {
  const { client, conversation, say } = await w.scene()
  const message = await say('later', { schedule: { delay: 1500 } })
  assert.match(message.id, /^msg_/)
  const listed = async () => (await client.listMessages({ conversationId: conversation.id })).messages.map((m) => m.id)
  assert.deepEqual(await listed(), [])
  await eventually(async () => (await listed()).includes(message.id), { what: 'the message being due' })
  const past = await say('at once', { schedule: { dateTime: '2020-01-01T00:00:00.000Z' } })
  assert.ok((await listed()).includes(past.id), 'a past time is now')
})

once('a synthetic message is marked; its direction follows its user', async (w) => {
  const { bot, say } = await w.scene()
  const user = await say('theirs', { origin: 'synthetic' })
  assert.equal(user.origin, 'synthetic')
  assert.equal(user.direction, 'incoming')
  const own = await say('ours', { origin: 'synthetic', userId: bot.id })
  assert.equal(own.direction, 'outgoing')
})

once('messages are imported in order, with their own dates, found again by their tags', async (w) => {
  const { bot, client, conversation, user } = await w.scene()
  const item = (n, extra = {}) => ({
    conversationId: conversation.id,
    userId: user.id,
    type: 'text',
    payload: { text: `${n}` },
    tags: { id: `m${n}` },
    discriminateByTags: ['id'],
    createdAt: `2024-01-0${n}T10:00:00.000Z`,
    ...extra,
  })
  const { messages } = await client.importMessages({ messages: [item(2), item(1), item(3, { userId: bot.id })] })
  assert.deepEqual(messages.map((m) => m.payload.text), ['2', '1', '3'])
  assert.deepEqual(messages.map((m) => m.createdAt.slice(0, 10)), ['2024-01-02', '2024-01-01', '2024-01-03'])
  assert.deepEqual(messages.map((m) => m.direction), ['incoming', 'incoming', 'outgoing'])
  const { messages: again } = await client.importMessages({ messages: [item(1, { payload: { text: 'other' } })] })
  assert.deepEqual(again, [messages[1]])
  const { messages: fresh } = await client.importMessages({
    messages: [item(4, { tags: {} }), item(4, { tags: {} }), item(4, { discriminateByTags: [] }), item(4, { discriminateByTags: [] })],
  })
  assert.equal(new Set(fresh.map((m) => m.id)).size, 4, 'without tags to compare, always created')
  const listed = (await client.list.messages({ conversationId: conversation.id }).collect()).map((m) => m.payload.text)
  assert.deepEqual(listed, ['4', '4', '4', '4', '3', '2', '1'])
})

once('an import is all or nothing, at most 100 at a time', async (w) => {
  const { bot, client, conversation, user } = await w.scene()
  const item = (extra) => ({
    conversationId: conversation.id, userId: user.id, type: 'text', payload: {}, tags: {},
    discriminateByTags: [], createdAt: '2024-01-01T10:00:00.000Z', ...extra,
  })
  await w.refused('ReferenceNotFound', client.importMessages({ messages: [item(), item({ userId: nobody('user') })] }))
  await w.refused('ReferenceNotFound', client.importMessages({ messages: [item({ conversationId: nobody('conv') })] }))
  await w.refused('InvalidPayload', client.importMessages({ messages: [item({ createdAt: 'then' })] }))
  await w.refused('InvalidPayload', client.importMessages({ messages: Array.from({ length: 101 }, () => item()) }))
  await refusedRaw('InvalidPayload', 'POST', '/v1/chat/messages/import-messages', { botId: bot.id, body: {} })
  assert.deepEqual((await client.listMessages({ conversationId: conversation.id })).messages, [])
  const { messages } = await client.importMessages({ messages: Array.from({ length: 100 }, () => item()) })
  assert.equal(messages.length, 100)
})

every('the platform keeps numbers, key order and odd texts of a payload', 'createMessage', async (w) => {
  const { bot, say } = await w.scene()
  const message = await say('x', { payload: { z: 1, a: 0.1, big: 9007199254740991, text: '\u2028 "quoted" \\ /' } })
  const { message: read } = await ok('GET', `/v1/chat/messages/${message.id}`, { botId: bot.id })
  assert.equal(JSON.stringify(read.payload), '{"z":1,"a":0.1,"big":9007199254740991,"text":"\u2028 \\"quoted\\" \\\\ /"}')
})
