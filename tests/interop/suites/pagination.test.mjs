// Pages: runtime.md § 3.

import { assert, every, ok, once, pages, raw, refusedRaw } from '../lib/harness.mjs'

async function conversations(w, count) {
  const { bot, client } = await w.asBot()
  const ids = []
  for (let n = 0; n < count; n++) {
    ids.push((await client.createConversation({ channel: n % 2 ? 'odd' : 'even', tags: {} })).conversation.id)
  }
  const get = (query) => ok('GET', `/v1/chat/conversations${query}`, { botId: bot.id })
  return { bot, client, ids, get }
}

every('twenty a page; a token only when there is more', 'listConversations', async (w) => {
  const { client, ids } = await conversations(w, 20)
  const full = await client.listConversations({})
  assert.equal(full.conversations.length, 20)
  assert.deepEqual(full.meta, {}, 'nothing follows the last row')
  const { conversation } = await client.createConversation({ channel: 'c', tags: {} })
  const first = await client.listConversations({})
  assert.equal(first.conversations.length, 20)
  assert.equal(first.conversations[0].id, conversation.id)
  const second = await client.listConversations({ nextToken: first.meta.nextToken })
  assert.deepEqual(second.conversations.map((c) => c.id), [ids[0]])
  assert.deepEqual(second.meta, {})
})

every('meta is there on an empty list', 'listConversations', async (w) => {
  const { bot, client } = await w.asBot()
  assert.deepEqual(await client.listConversations({}), { conversations: [], meta: {} })
  assert.deepEqual((await client.listMessages({})).meta, {})
  assert.deepEqual((await client.listUsers({ tags: { no: 'body' } })).meta, {})
  assert.deepEqual((await client.listEvents({ type: 'none' })).meta, {})
  const tasks = await ok('GET', '/v1/chat/tasks', { botId: bot.id })
  assert.deepEqual(tasks, { tasks: [], meta: {} })
})

once('pageSize and its alias limit, clamped to 1 … 100', async (w) => {
  const { get, ids } = await conversations(w, 103)
  const size = async (query) => (await get(query)).conversations.length
  assert.equal(await size('?pageSize=7'), 7)
  assert.equal(await size('?limit=7'), 7)
  assert.equal(await size('?pageSize=100'), 100)
  assert.equal(await size('?pageSize=5000'), 100)
  assert.equal(await size('?limit=5000'), 100)
  assert.equal(await size('?pageSize=0'), 1)
  assert.equal(await size('?pageSize=-3'), 1)
  assert.equal(await size(''), 20)
  const first = await get('?limit=100')
  const rest = await get(`?limit=100&nextToken=${encodeURIComponent(first.meta.nextToken)}`)
  assert.deepEqual([...first.conversations, ...rest.conversations].map((c) => c.id), ids.toReversed())
})

once('a page size that is no number is refused', async (w) => {
  const { bot } = await w.asBot()
  const answer = await raw('GET', '/v1/chat/conversations?pageSize=many', { botId: bot.id })
  assert.equal(answer.status, 400)
  assert.ok(['InvalidQuery', 'InvalidPayload'].includes(answer.body.type), answer.text)
})

once('a token is good for its own list, filters and sort only', async (w) => {
  const { bot, get } = await conversations(w, 6)
  const { meta } = await get('?pageSize=2&channel=even')
  const token = encodeURIComponent(meta.nextToken)
  assert.equal((await get(`?pageSize=2&channel=even&nextToken=${token}`)).conversations.length, 1)
  const foreign = [
    `/v1/chat/conversations?pageSize=2&channel=odd&nextToken=${token}`,
    `/v1/chat/conversations?pageSize=2&nextToken=${token}`,
    `/v1/chat/conversations?pageSize=2&channel=even&sortDirection=asc&sortField=createdAt&nextToken=${token}`,
    `/v1/chat/users?nextToken=${token}`,
    `/v1/chat/messages?nextToken=${token}`,
    `/v1/chat/conversations?channel=even&nextToken=${token.slice(0, -2)}`,
    '/v1/chat/conversations?nextToken=garbage',
    `/v1/chat/conversations?nextToken=${encodeURIComponent('ü%')}`,
  ]
  for (const target of foreign) await refusedRaw('InvalidQuery', 'GET', target, { botId: bot.id })
  const other = await w.newBot()
  await refusedRaw('InvalidQuery', 'GET', `/v1/chat/conversations?pageSize=2&channel=even&nextToken=${token}`, {
    botId: other.id,
  })
})

every('a token of another list is an invalid query', 'listConversations', async (w) => {
  const { client } = await conversations(w, 21)
  const { meta } = await client.listConversations({})
  await w.refused('InvalidQuery', client.listUsers({ nextToken: meta.nextToken }))
  await w.refused('InvalidQuery', client.listConversations({ nextToken: meta.nextToken, tags: { a: 'b' } }))
  await w.refused('InvalidQuery', client.listConversations({ nextToken: `${meta.nextToken}x` }))
})

for (const sortField of ['createdAt', 'updatedAt']) {
  for (const sortDirection of ['asc', 'desc']) {
    every(`a full scan by ${sortField} ${sortDirection} is complete while writes go on`, 'listConversations', async (w) => {
      const { client, ids } = await conversations(w, 50)
      let writing = true
      const writer = (async () => {
        for (let n = 0; writing; n++) {
          await client.createConversation({ channel: 'new', tags: { n: `${n}` } })
          // Moving rows about would rightly move them in a scan by latest activity.
          if (sortField === 'createdAt') await client.updateConversation({ id: ids[(n * 7) % 50], tags: { n: `${n}` } })
        }
      })()
      const rows = (
        await pages(async (nextToken) => {
          const page = await client.listConversations({ sortField, sortDirection, nextToken })
          await new Promise((resolve) => setTimeout(resolve, 5))
          if (page.conversations.length < 20) writing = false
          return { items: page.conversations, token: page.meta.nextToken }
        }, 60).finally(() => (writing = false))
      ).flat()
      await writer
      const seen = rows.map((c) => c.id)
      assert.equal(new Set(seen).size, seen.length, 'no row twice')
      for (const id of ids) assert.ok(seen.includes(id), 'no row missing')
      const keys = rows.map((c) => c[sortField])
      if (sortField === 'createdAt') {
        assert.deepEqual(keys, sortDirection === 'asc' ? keys.toSorted() : keys.toSorted().toReversed())
      }
    })
  }
}

once('rows of one instant are neither lost nor repeated', async (w) => {
  const { client, conversation, user, bot } = await w.scene()
  const item = (n) => ({
    conversationId: conversation.id, userId: user.id, type: 'text', payload: { n }, tags: {},
    discriminateByTags: [], createdAt: '2024-02-02T02:02:02.002Z',
  })
  await client.importMessages({ messages: Array.from({ length: 30 }, (_, n) => item(n)) })
  const chunks = await pages(async (token) => {
    const next = token ? `&nextToken=${encodeURIComponent(token)}` : ''
    const page = await ok('GET', `/v1/chat/messages?conversationId=${conversation.id}&pageSize=7${next}`, { botId: bot.id })
    return { items: page.messages.map((m) => m.payload.n), token: page.meta.nextToken }
  })
  assert.deepEqual(chunks.flat(), Array.from({ length: 30 }, (_, n) => 29 - n))
})

for (const [operation, fields] of [
  ['listConversations', {}],
  ['listUsers', {}],
  ['listMessages', {}],
  ['listEvents', {}],
  ['listWorkflows', {}],
  ['listTasks', {}],
  ['listTagValues', { type: 'user', key: 'k' }],
]) {
  every(`${operation} refuses a token that it never gave`, operation, async (w) => {
    const { client } = await w.asBot()
    await w.refused('InvalidQuery', client[operation]({ ...fields, nextToken: 'made-up' }))
  })
}
