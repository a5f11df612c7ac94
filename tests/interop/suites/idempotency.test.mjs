// `Idempotency-Key`: ours. A request that is sent again with the same key is done once and answered
// the same.

import { assert, every, once, raw, unique } from '../lib/harness.mjs'

once('the same request is done once and answered the same', async (w) => {
  const { bot, client, conversation, user } = await w.scene()
  const body = { conversationId: conversation.id, userId: user.id, type: 'text', payload: { text: 'once' }, tags: {} }
  const headers = { 'idempotency-key': unique('key') }
  const send = () => raw('POST', '/v1/chat/messages', { botId: bot.id, headers, body })
  const [first, second] = [await send(), await send()]
  assert.equal(first.status, 201)
  assert.equal(second.status, 201)
  assert.deepEqual(second.body, first.body)
  const other = await raw('POST', '/v1/chat/messages', { botId: bot.id, headers: { 'idempotency-key': unique('key') }, body })
  assert.notEqual(other.body.message.id, first.body.message.id)
  assert.equal((await client.listMessages({ conversationId: conversation.id })).messages.length, 2)
})

once('many at once make one', async (w) => {
  const { bot, client } = await w.asBot()
  const headers = { 'idempotency-key': unique('key') }
  const body = { channel: 'c', tags: {} }
  const all = await Promise.all(
    Array.from({ length: 12 }, () => raw('POST', '/v1/chat/conversations', { botId: bot.id, headers, body })),
  )
  for (const one of all) assert.equal(one.status, 201, one.text)
  assert.equal(new Set(all.map((one) => one.body.conversation.id)).size, 1)
  assert.equal((await client.listConversations({})).conversations.length, 1)
})

once('a key belongs to its caller’s bot and to its operation', async (w) => {
  const [one, two] = [await w.newBot(), await w.newBot()]
  const headers = { 'idempotency-key': unique('key') }
  const make = (bot, target, body) => raw('POST', target, { botId: bot.id, headers, body })
  const a = await make(one, '/v1/chat/users', { tags: {} })
  const b = await make(two, '/v1/chat/users', { tags: {} })
  assert.notEqual(a.body.user.id, b.body.user.id)
  const c = await make(one, '/v1/chat/events', { type: 't', payload: {} })
  assert.equal(c.status, 201)
  assert.ok(c.body.event.id)
})

once('the same key for another request is refused and changes nothing', async (w) => {
  const { bot, client } = await w.asBot()
  const headers = { 'idempotency-key': unique('key') }
  const send = (tags) => raw('POST', '/v1/chat/conversations', { botId: bot.id, headers, body: { channel: 'c', tags } })
  assert.equal((await send({ a: '1' })).status, 201)
  const other = await send({ a: '2' })
  assert.equal(other.body.type, 'InvalidPayload', other.text)
  assert.equal((await client.listConversations({})).conversations.length, 1)
})

once('a refused request is not remembered as done', async (w) => {
  const { bot, client } = await w.asBot()
  const headers = { 'idempotency-key': unique('key') }
  const send = (tags) => raw('POST', '/v1/chat/users', { botId: bot.id, headers, body: { tags } })
  assert.equal((await send(undefined)).status, 400)
  assert.equal((await send({ k: 'v' })).status, 201, 'the corrected request is done')
  assert.equal((await client.listUsers({ tags: { k: 'v' } })).users.length, 1)
})

every('the clients may carry the key in their headers', 'createUser', async (w) => {
  const bot = await w.newBot()
  const client = w.client({ botId: bot.id, headers: { 'idempotency-key': unique('key') } })
  const [one, two] = [await client.createUser({ tags: { a: '1' } }), await client.createUser({ tags: { a: '1' } })]
  assert.deepEqual(two, one)
})
