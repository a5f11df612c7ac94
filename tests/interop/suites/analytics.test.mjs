// Analytics and observations: runtime.md § 14, admin.md § 5.4.

import { assert, every, once, raw } from '../lib/harness.mjs'

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
