// `POST /v1/chat/import`: ours, what `duologue import` sends.

import { assert, nobody, ok, once, refusedRaw } from '../lib/harness.mjs'

/** Records of a conversation with two messages, under ids of their own. */
function dialogue(w, bot) {
  const at = (second) => `2024-01-01T00:00:0${second}.000Z`
  const id = (prefix) => `${prefix}_${bot.id.slice(4)}`
  const [conversationId, userId] = [id('conv'), id('user')]
  const message = (n, fields) => ({
    message: {
      id: `msg_${n}${bot.id.slice(5)}`, createdAt: at(n), updatedAt: at(n), type: 'text', payload: { text: `${n}` },
      tags: {}, conversationId, ...fields,
    },
  })
  return [
    {
      conversation: {
        id: conversationId, createdAt: at(0), updatedAt: at(2), channel: 'web', integration: '', tags: { from: 'afar' },
        messageCount: 2,
      },
      users: [{ id: userId, createdAt: at(0), updatedAt: at(0), tags: {}, name: 'Ada' }],
    },
    message(1, { direction: 'incoming', userId }),
    message(2, { direction: 'outgoing', userId: bot.id }),
  ]
}

once('records keep their ids and instants; a repeat changes nothing', async (w) => {
  const { bot, client } = await w.asBot()
  const records = dialogue(w, bot)
  const send = () => ok('POST', '/v1/chat/import', { botId: bot.id, body: { records } })
  assert.deepEqual(await send(), { created: 3, skipped: 0 })
  assert.deepEqual(await send(), { created: 0, skipped: 3 })
  const { id } = records[0].conversation
  const { conversation } = await client.getConversation({ id })
  assert.deepEqual([conversation.createdAt, conversation.tags], ['2024-01-01T00:00:00.000Z', { from: 'afar' }])
  const { messages } = await client.listMessages({ conversationId: id })
  assert.deepEqual(messages.map((m) => [m.payload.text, m.direction]), [['2', 'outgoing'], ['1', 'incoming']])
  assert.deepEqual((await client.listEvents({})).events, [], 'nothing of it happened here')
})

once('only a bot imports, only whole records, and only into its own', async (w) => {
  const { bot } = await w.asBot()
  const records = dialogue(w, bot)
  const refused = (type, body, headers) =>
    refusedRaw(type, 'POST', '/v1/chat/import', { botId: bot.id, body, headers })
  await refused('InvalidPayload', { records: [{}] })
  await refused('InvalidPayload', { records: Array(501).fill(records[0]) })
  await refused('InvalidPayload', {})
  const integration = await w.newIntegration()
  await w.install(bot, integration)
  await refused('Forbidden', { records }, { 'x-integration-id': integration.id })
  await ok('POST', '/v1/chat/import', { botId: bot.id, body: { records } })
  const other = await w.newBot()
  await refusedRaw('AlreadyExists', 'POST', '/v1/chat/import', { botId: other.id, body: { records: [records[0]] } })
  const orphan = { message: { ...records[1].message, id: nobody('msg'), conversationId: nobody('conv') } }
  await refused('ReferenceNotFound', { records: [orphan] })
})
