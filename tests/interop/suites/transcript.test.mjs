// Transcripts of a conversation: ours.

import { assert, nobody, ok, once, raw, refusedRaw } from '../lib/harness.mjs'

async function dialogue(w) {
  const { bot, client, conversation } = await w.scene()
  const { user } = await client.createUser({ tags: {}, name: 'Ada <Lovelace>' })
  const say = (userId, text) =>
    client.createMessage({ conversationId: conversation.id, userId, type: 'text', payload: { text }, tags: {} })
  await say(user.id, 'Hello, "bot"')
  await say(bot.id, '<b>Hi</b>, Ada')
  const target = `/v1/chat/conversations/${conversation.id}/transcript`
  const get = (query = '') => raw('GET', `${target}${query}`, { botId: bot.id })
  return { bot, client, conversation, user, target, get }
}

for (const [format, type] of [
  ['text', /^text\/plain/],
  ['markdown', /^text\/markdown/],
  ['html', /^text\/html/],
  ['csv', /^text\/csv/],
  ['json', /^application\/json/],
  ['jsonl', /^application\/x-ndjson/],
]) {
  once(`a transcript as ${format} tells who said what, oldest first`, async (w) => {
    const { get } = await dialogue(w)
    const answer = await get(`?format=${format}`)
    assert.equal(answer.status, 200, answer.text)
    assert.match(answer.headers['content-type'], type)
    const [first, second] = [answer.text.indexOf('Hello'), answer.text.indexOf('Hi')]
    assert.ok(first >= 0 && second > first, answer.text)
    assert.ok(answer.text.includes('Ada'))
    if (format === 'html') assert.ok(!answer.text.includes('<b>Hi</b>'), 'what people wrote is escaped')
    if (format === 'jsonl') {
      const rows = answer.text.trim().split('\n').map((line) => JSON.parse(line))
      assert.ok(rows.length >= 2)
    }
  })
}

once('an unknown conversation or format is refused', async (w) => {
  const { bot, target } = await dialogue(w)
  await refusedRaw('ResourceNotFound', 'GET', `/v1/chat/conversations/${nobody('conv')}/transcript`, { botId: bot.id })
  const answer = await raw('GET', `${target}?format=interpretive-dance`, { botId: bot.id })
  assert.equal(answer.status, 400)
  assert.ok(['InvalidQuery', 'InvalidPayload'].includes(answer.body.type), answer.text)
  const other = await w.newBot()
  await refusedRaw('ResourceNotFound', 'GET', target, { botId: other.id })
  await refusedRaw('Unauthorized', 'GET', target, { token: null, botId: bot.id })
})

once('a long conversation is told whole', async (w) => {
  const { bot, client, conversation, user, get } = await dialogue(w)
  const messages = Array.from({ length: 100 }, (_, n) => ({
    conversationId: conversation.id, userId: user.id, type: 'text', payload: { text: `line-${n};` }, tags: {},
    discriminateByTags: [], createdAt: '2024-01-01T00:00:00.000Z',
  }))
  for (let n = 0; n < 3; n++) await client.importMessages({ messages })
  const { text } = await get('?format=text')
  for (const n of [0, 50, 99]) assert.equal(text.split(`line-${n};`).length - 1, 3)
  await ok('GET', `/v1/chat/users/${bot.id}`, { botId: bot.id })
})
