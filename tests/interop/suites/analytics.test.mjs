// Analytics and observations: runtime.md § 14, admin.md § 5.4.

import { assert, every, nobody, once, raw } from '../lib/harness.mjs'

every('counters are counted and bad ones refused', 'trackAnalytics', async (w) => {
  const { client } = await w.asBot()
  assert.deepEqual(await client.trackAnalytics({ name: 'clicks', count: 2 }), {})
  assert.deepEqual(await client.trackAnalytics({ name: 'clicks', count: 3 }), {})
  await w.refused('InvalidPayload', client.trackAnalytics({ name: 'clicks', count: 0 }))
  await w.refused('InvalidPayload', client.trackAnalytics({ name: 'clicks', count: 1.5 }))
  await w.refused('InvalidPayload', client.trackAnalytics({ name: '', count: 1 }))
  await w.refused('InvalidPayload', client.trackAnalytics({ name: 'n'.repeat(201), count: 1 }))
  await w.refused('InvalidPayload', client.trackAnalytics({ count: 1 }))
})

once('an observation is taken', async (w) => {
  const { bot, client } = await w.asBot()
  assert.deepEqual(await client.captureObservation({ name: 'seen', data: { a: 1 } }), {})
  const answer = await raw('POST', '/v1/chat/observations', { botId: bot.id, body: { data: {} } })
  assert.equal(answer.body.type, 'InvalidPayload')
  await w.refused('InvalidPayload', client.captureObservation({ data: {} }))
})

every('what a bot did is counted by the day', 'getBotAnalytics', async (w) => {
  const admin = w.asAdmin()
  const { bot, client } = await w.asBot()
  const integration = await w.newIntegration()
  const { alias } = await w.install(bot, integration)
  const people = w.asIntegration(bot, integration, alias)
  const { conversation } = await people.createConversation({ channel: 'channel', tags: {} })
  const { user } = await people.createUser({ tags: {} })
  const say = (from, userId) =>
    from.createMessage({ conversationId: conversation.id, userId, type: 'text', payload: { text: 'x' }, tags: {} })
  await say(people, user.id)
  await say(people, user.id)
  await say(client, bot.id)
  await client.createEvent({ type: 'placed', payload: {} })
  await client.trackAnalytics({ name: 'clicks', count: 5 })
  const day = (before) => new Date(Date.now() - before * 86_400_000).toISOString().slice(0, 10)
  const { records } = await admin.getBotAnalytics({ id: bot.id, startDate: day(2), endDate: day(0) })
  assert.deepEqual(
    records.map((record) => [record.startDateTimeUtc, record.endDateTimeUtc]),
    [2, 1, 0].map((before) => [`${day(before)}T00:00:00.000Z`, `${day(before)}T23:59:59.999Z`]),
  )
  assert.deepEqual(records.map((record) => record.events), [0, 0, 3])
  const { startDateTimeUtc, endDateTimeUtc, llm, ...today } = records[2]
  assert.deepEqual(today, {
    returningUsers: 0,
    newUsers: 1,
    sessions: 1,
    messages: 2,
    userMessages: 2,
    botMessages: 1,
    events: 3,
    eventTypes: { message_created: 2, placed: 1 },
    customEvents: { clicks: 5 },
  })
  assert.deepEqual([llm.calls, llm.cost.sum, llm.latency.mean], [0, 0, 0])
  const instants = { startDate: new Date().toISOString(), endDate: new Date().toISOString() }
  assert.equal((await admin.getBotAnalytics({ id: bot.id, ...instants })).records.length, 1)
  const bad = [[day(0), day(1)], [day(100), day(0)], ['yesterday', day(0)]]
  for (const [startDate, endDate] of bad) {
    await w.refused('InvalidQuery', admin.getBotAnalytics({ id: bot.id, startDate, endDate }))
  }
  await w.refused('ResourceNotFound', admin.getBotAnalytics({ id: nobody('bot'), startDate: day(0), endDate: day(0) }))
})
