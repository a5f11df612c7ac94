// Bots of version 12 through the official client: docs/converse.md. The server serves `v12-data`.

import http from 'node:http'
import { assert, eventually, every, pages, server, unique } from '../lib/harness.mjs'

/** Its folder's name; as long as ids of the Cloud API, so that every answer is checked against its description. */
const BOT = 'parcels-of-the-interop-suite'
const route = (user, rest = '') => new URL(`/api/v1/bots/${BOT}/converse/${user}${rest}`, server.url)

/** What the bot answers on the Converse API. */
async function converse(user, text) {
  const body = JSON.stringify({ type: 'text', text })
  const answer = await fetch(route(user), { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  assert.equal(answer.status, 200, await answer.clone().text())
  return (await answer.json()).responses.map((response) => response.text)
}

/** Somebody who listens by server-sent events: `texts` grows. */
async function listen(user) {
  const texts = []
  const request = http.get(route(user, '/events'))
  const answer = await new Promise((resolve, reject) => request.on('response', resolve).on('error', reject))
  assert.equal(answer.statusCode, 200)
  let rest = ''
  answer.setEncoding('utf8')
  answer.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()
    for (const line of lines) if (line.startsWith('data: ')) texts.push(JSON.parse(line.slice(6)).text)
  })
  return { texts, close: () => request.destroy() }
}

async function conversationOf(client, user) {
  const { conversations } = await client.listConversations({ tags: { userId: user } })
  assert.equal(conversations.length, 1)
  return conversations[0]
}

const asBot = (client, conversation, text) =>
  client.createMessage({ conversationId: conversation.id, userId: BOT, type: 'text', payload: { text }, tags: {} })

every('a bot of version 12 is listed with the others', ['listBots', 'getBot'], async (w) => {
  const admin = w.asAdmin()
  const listed = await pages(async (nextToken) => {
    const { bots, meta } = await admin.listBots({ nextToken })
    return { items: bots, token: meta.nextToken }
  })
  assert.ok(listed.flat().some((bot) => bot.id === BOT && bot.name === 'Parcels'))
  assert.equal((await admin.getBot({ id: BOT })).bot.id, BOT)
})

every('its conversations, users and messages are listed', ['listConversations', 'listMessages'], async (w) => {
  const client = w.client({ botId: BOT })
  const user = unique('ada')
  assert.deepEqual(await converse(user, 'where is it'), ['You said where is it'])
  const conversation = await conversationOf(client, user)
  assert.equal(conversation.channel, 'api')
  const { messages } = await client.listMessages({ conversationId: conversation.id })
  assert.deepEqual(
    messages.map(({ direction, type, payload }) => [direction, type, payload.text]).reverse(),
    [
      ['incoming', 'text', 'where is it'],
      ['outgoing', 'text', 'You said where is it'],
    ],
  )
  const { participants } = await client.listParticipants({ id: conversation.id })
  assert.ok(participants.some((participant) => participant.id === messages[1].userId))
})

every('what a program says as the bot is heard by whoever listens', 'createMessage', async (w) => {
  const client = w.client({ botId: BOT })
  const user = unique('ada')
  const ear = await listen(user)
  try {
    const conversation = await conversationOf(client, user)
    await asBot(client, conversation, 'Your parcel is here')
    await eventually(() => ear.texts.includes('Your parcel is here'), { what: 'the event' })
  } finally {
    ear.close()
  }
  assert.deepEqual(await converse(user, 'thanks'), ['You said thanks'])
})

every('and by whoever polls, and comes with the next answer if nobody does', 'createMessage', async (w) => {
  const client = w.client({ botId: BOT })
  const user = unique('ada')
  const poll = async (query) => (await fetch(route(user, `/events?${query}`))).json()
  const { after } = await poll('wait=0')
  const conversation = await conversationOf(client, user)
  const [heard] = await Promise.all([poll(`after=${after}&wait=30`), asBot(client, conversation, 'Hurry')])
  assert.deepEqual(heard.responses, [{ type: 'text', text: 'Hurry' }])
  await asBot(client, conversation, 'Last call')
  assert.deepEqual(await converse(user, 'ok'), ['Last call', 'You said ok'])
})
