// Logs of bots and integrations: admin.md § 5.4.

import { assert, every, nobody, unique } from '../lib/harness.mjs'

const timeStart = new Date(Date.now() - 60_000).toISOString()

every('a bot without a history has an empty log', 'getBotLogs', async (w) => {
  const client = w.asAdmin()
  const { bot } = await client.createBot({ name: unique('bot') })
  assert.deepEqual(await client.getBotLogs({ id: bot.id, timeStart }), { logs: [] })
  const filtered = { level: 'error', userId: nobody('user'), conversationId: nobody('conv'), messageContains: 'x' }
  assert.deepEqual(await client.getBotLogs({ id: bot.id, timeStart, timeEnd: timeStart, ...filtered }), { logs: [] })
  await w.refused('InvalidQuery', client.getBotLogs({ id: bot.id, timeStart: 'yesterday' }))
  await w.refused('InvalidQuery', client.getBotLogs({ id: bot.id, timeStart, nextToken: 'nonsense' }))
  await w.refused('ResourceNotFound', client.getBotLogs({ id: nobody('bot'), timeStart }))
})

every('so has an integration', 'getIntegrationLogs', async (w) => {
  const client = w.asAdmin()
  const { integration } = await client.createIntegration({ name: unique('int'), version: '1.0.0' })
  assert.deepEqual(await client.getIntegrationLogs({ id: integration.id, timeStart }), { logs: [] })
  await w.refused('ResourceNotFound', client.getIntegrationLogs({ id: nobody('intver'), timeStart }))
})
