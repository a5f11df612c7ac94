// Writes all conversations of a bot as JSON Lines, the form that `duologue import` reads:
//
//   npm install @botpress/client
//   BP_API_URL=http://127.0.0.1:3000 BP_TOKEN=… BP_BOT_ID=… node export.mjs > all.jsonl
//
// Arguments of the form key=value choose conversations by their tags:
//
//   node export.mjs topic=sales > sales.jsonl

import { once } from 'node:events'
import { Client } from '@botpress/client'

const { BP_API_URL: apiUrl, BP_TOKEN: token, BP_BOT_ID: botId } = process.env
const client = new Client({ apiUrl, token, botId })
const tags = Object.fromEntries(process.argv.slice(2).map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]))

/** All items of a list: one page after the other, until there is no token for a next one. */
async function* every(page) {
  let nextToken
  do {
    const { items, meta } = await page(nextToken)
    yield* items
    nextToken = meta.nextToken
  } while (nextToken)
}

const conversations = () =>
  every(async (nextToken) => {
    const { conversations, meta } = await client.listConversations({
      tags,
      sortField: 'createdAt',
      sortDirection: 'asc',
      nextToken,
    })
    return { items: conversations, meta }
  })

const participants = (id) =>
  every(async (nextToken) => {
    const { participants, meta } = await client.listParticipants({ id, nextToken })
    return { items: participants, meta }
  })

/** Newest first, as the API lists them. */
const messages = (conversationId) =>
  every(async (nextToken) => {
    const { messages, meta } = await client.listMessages({ conversationId, nextToken })
    return { items: messages, meta }
  })

async function all(items) {
  const found = []
  for await (const item of items) found.push(item)
  return found
}

/** Users by the time they were created, then by id: the order in which an export has them. */
const inOrder = (users) =>
  users.sort((a, b) => (a.createdAt + a.id < b.createdAt + b.id ? -1 : 1))

async function write(record) {
  if (!process.stdout.write(JSON.stringify(record) + '\n')) await once(process.stdout, 'drain')
}

await write({ duologue: 'export', version: 1, botId })
for await (const conversation of conversations()) {
  await write({ conversation, users: inOrder(await all(participants(conversation.id))) })
  for (const message of (await all(messages(conversation.id))).reverse()) {
    await write({ message })
  }
}
