// Operations the official client lacks: `listStates`, `deleteState` (runtime.md § 8).

import { assert, nobody, ok, once, pages, raw, refusedRaw } from '../lib/harness.mjs'

once('listStates lists the states of one thing, newest first, in pages', async (w) => {
  const { bot, client, user } = await w.scene()
  for (let n = 0; n < 5; n++) await client.setState({ type: 'user', id: user.id, name: `s${n}`, payload: { n } })
  await client.setState({ type: 'bot', id: bot.id, name: 's0', payload: {} })
  const target = `/v1/chat/states?type=user&id=${user.id}`
  const { states, meta } = await ok('GET', target, { botId: bot.id })
  assert.deepEqual(states.map((s) => s.name), ['s4', 's3', 's2', 's1', 's0'])
  assert.deepEqual(states[0].payload, { n: 4 })
  assert.deepEqual(meta, {})
  const named = await ok('GET', `${target}&name=s2`, { botId: bot.id })
  assert.deepEqual(named.states.map((s) => s.name), ['s2'])
  const chunks = await pages(async (token) => {
    const next = token ? `&nextToken=${encodeURIComponent(token)}` : ''
    const page = await ok('GET', `${target}&pageSize=2${next}`, { botId: bot.id })
    return { items: page.states.map((s) => s.name), token: page.meta.nextToken }
  })
  assert.deepEqual(chunks, [['s4', 's3'], ['s2', 's1'], ['s0']])
})

once('listStates knows what it lists', async (w) => {
  const { bot, user, client } = await w.scene()
  const botId = bot.id
  await refusedRaw('InvalidPayload', 'GET', '/v1/chat/states', { botId })
  const planet = await raw('GET', `/v1/chat/states?type=planet&id=${botId}`, { botId })
  assert.ok(['InvalidQuery', 'InvalidPayload'].includes(planet.body.type), planet.text)
  await client.setState({ type: 'user', id: user.id, name: 'gone', payload: {}, expiry: 1 })
  await new Promise((resolve) => setTimeout(resolve, 50))
  assert.deepEqual((await ok('GET', `/v1/chat/states?type=user&id=${user.id}`, { botId })).states, [], 'expired is missing')
})

once('deleteState deletes, twice is not found, and no event tells of it', async (w) => {
  const { bot, client } = await w.asBot()
  const botId = bot.id
  await client.setState({ type: 'bot', id: botId, name: 'a#b/c', payload: {}, expiry: 3000 })
  const target = `/v1/chat/states/bot/${botId}/a%23b%2Fc`
  assert.deepEqual(await ok('DELETE', target, { botId }), {})
  await refusedRaw('ResourceNotFound', 'DELETE', target, { botId })
  await w.refused('ResourceNotFound', client.getState({ type: 'bot', id: botId, name: 'a#b/c' }))
  await refusedRaw('ResourceNotFound', 'DELETE', `/v1/chat/states/user/${nobody('user')}/s`, { botId })
  await new Promise((resolve) => setTimeout(resolve, 3500))
  assert.deepEqual((await client.listEvents({ type: 'state_expired' })).events, [])
})
