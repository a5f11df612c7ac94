// States: runtime.md § 8.

import { assert, eventually, every, nobody, once, recent, refusedRaw, sleep, unique } from '../lib/harness.mjs'

const KINDS = ['conversation', 'user', 'bot']

/** Type and id of each scope a plain bot has. */
async function scopes(w) {
  const scene = await w.scene()
  return { ...scene, of: { conversation: scene.conversation.id, user: scene.user.id, bot: scene.bot.id } }
}

for (const type of KINDS) {
  every(`a ${type} state is set, read and replaced`, ['setState', 'getState'], async (w) => {
    const { bot, client, of } = await scopes(w)
    const key = { type, id: of[type], name: 'memory' }
    const { state } = await client.setState({ ...key, payload: { a: 1, deep: { b: [null] } } })
    assert.match(state.id, /^state_/)
    assert.equal(state.botId, bot.id)
    assert.equal(state.type, type)
    assert.equal(state.name, 'memory')
    assert.equal(state.conversationId, type === 'conversation' ? of[type] : undefined)
    assert.equal(state.userId, type === 'user' ? of[type] : undefined)
    assert.deepEqual(state.payload, { a: 1, deep: { b: [null] } })
    recent(state.createdAt)
    const read = await client.getState(key)
    assert.deepEqual(read.state, state)
    assert.equal(typeof read.meta.cached, 'boolean')
    await sleep(3)
    const { state: replaced } = await client.setState({ ...key, payload: { c: 2 } })
    assert.deepEqual(replaced.payload, { c: 2 })
    assert.equal(replaced.id, state.id)
    assert.equal(replaced.createdAt, state.createdAt)
    assert.ok(replaced.updatedAt > state.updatedAt)
  })

  every(`a missing ${type} state is not found, with the words callers look for`, 'getState', async (w) => {
    const { client, of } = await scopes(w)
    const key = { type, id: of[type], name: 'nothing' }
    await w.refused('ResourceNotFound', client.getState(key), /No State found/)
    await w.refused('ResourceNotFound', client.patchState({ ...key, payload: {} }), /No State found/)
    if (w.since('0.41')) await w.refused('ResourceNotFound', client.setStateExpiry({ ...key, expiry: 1000 }), /No State found/)
  })
}

every('a state of something that does not exist is not found', 'setState', async (w) => {
  const { client } = await w.asBot()
  const foreign = await w.scene()
  for (const [type, id] of [
    ['conversation', nobody('conv')],
    ['user', nobody('user')],
    ['bot', nobody('bot')],
    ['task', nobody('task')],
    ['conversation', foreign.conversation.id],
    ['user', foreign.user.id],
    ['bot', foreign.bot.id],
  ]) {
    await w.refused('ResourceNotFound', client.setState({ type, id, name: 's', payload: {} }))
    await w.refused('ResourceNotFound', client.getOrSetState({ type, id, name: 's', payload: {} }))
    await w.refused('ResourceNotFound', client.getState({ type, id, name: 's' }))
  }
})

every('malformed states are refused', 'setState', async (w) => {
  const { bot, client } = await w.asBot()
  const key = { type: 'bot', id: bot.id, name: 's' }
  await w.refused('InvalidPayload', client.setState({ ...key, payload: 'text' }))
  await w.refused('InvalidPayload', client.setState({ ...key, payload: [1] }))
  await w.refused('InvalidPayload', client.setState({ ...key, payload: {}, expiry: 0 }))
  await w.refused('InvalidPayload', client.setState({ ...key, payload: {}, expiry: 2592000001 }))
  await w.refused('InvalidPayload', client.setState({ ...key, payload: {}, expiry: 'soon' }))
  await w.refused('InvalidPayload', client.getOrSetState({ ...key }))
  await w.refused('InvalidPayload', client.setState({ ...key, type: 'planet', payload: {} }))
  await w.refused('InvalidPayload', client.getState({ ...key, type: 'planet' }))
  await w.refused('ResourceNotFound', client.getState(key))
})

every('a payload above 128 KiB is too large', 'setState', async (w) => {
  const { bot, client } = await w.asBot()
  const key = { type: 'bot', id: bot.id, name: 's' }
  const text = 'x'.repeat(131072 - JSON.stringify({ t: '' }).length)
  await client.setState({ ...key, payload: { t: text } })
  await w.refused('PayloadTooLarge', client.setState({ ...key, payload: { t: `${text}x` } }))
  await w.refused('PayloadTooLarge', client.patchState({ ...key, payload: { more: 'x'.repeat(10) } }))
})

every('a null payload deletes, answering the last state with an empty payload', 'setState', async (w) => {
  const { bot, client } = await w.asBot()
  const key = { type: 'bot', id: bot.id, name: 's' }
  const { state } = await client.setState({ ...key, payload: { a: 1 } })
  const { state: last } = await client.setState({ ...key, payload: null })
  assert.equal(last.id, state.id)
  assert.deepEqual(last.payload, {})
  await w.refused('ResourceNotFound', client.getState(key))
})

every('patch merges top-level keys; null is kept as null', 'patchState', async (w) => {
  const { bot, client } = await w.asBot()
  const key = { type: 'bot', id: bot.id, name: 's' }
  await client.setState({ ...key, payload: { a: 1, b: { c: 2, d: 3 }, e: 4 } })
  const { state } = await client.patchState({ ...key, payload: { b: { c: 9 }, e: null, f: 5 } })
  assert.deepEqual(state.payload, { a: 1, b: { c: 9 }, e: null, f: 5 })
  assert.deepEqual((await client.getState(key)).state, state)
})

every('patches at once lose nothing', 'patchState', async (w) => {
  const { bot, client } = await w.asBot()
  const key = { type: 'bot', id: bot.id, name: 's' }
  await client.setState({ ...key, payload: {} })
  await Promise.all(Array.from({ length: 20 }, (_, n) => client.patchState({ ...key, payload: { [`k${n}`]: n } })))
  assert.equal(Object.keys((await client.getState(key)).state.payload).length, 20)
})

every('get-or-set keeps what is there', 'getOrSetState', async (w) => {
  const { bot, client } = await w.asBot()
  const key = { type: 'bot', id: bot.id, name: unique() }
  const first = await client.getOrSetState({ ...key, payload: { a: 1 } })
  assert.deepEqual(first.state.payload, { a: 1 })
  assert.equal(typeof first.meta.cached, 'boolean')
  const second = await client.getOrSetState({ ...key, payload: { b: 2 } })
  assert.deepEqual(second.state, first.state)
})

every('get-or-set is atomic: many at once agree', 'getOrSetState', async (w) => {
  const { bot, client } = await w.asBot()
  const key = { type: 'bot', id: bot.id, name: unique() }
  const all = await Promise.all(
    Array.from({ length: 24 }, (_, n) => client.getOrSetState({ ...key, payload: { n } })),
  )
  assert.equal(new Set(all.map((one) => one.state.payload.n)).size, 1)
  assert.equal(new Set(all.map((one) => one.state.id)).size, 1)
})

every('names may hold any character', 'setState', async (w) => {
  const { bot, client } = await w.asBot()
  for (const name of ['s#x y', 'hitl#queue', 'a/b', 'ü%20?&=', 'dot.dot', 'get-or-set', 'expiry', '...']) {
    const key = { type: 'bot', id: bot.id, name }
    await client.setState({ ...key, payload: { name } })
    const { state } = await client.getState(key)
    assert.equal(state.name, name)
    assert.deepEqual(state.payload, { name })
  }
  await w.refused('InvalidPayload', client.setState({ type: 'bot', id: bot.id, name: 'n'.repeat(201), payload: {} }))
})

every('a state expires when it lies idle', 'setState', async (w) => {
  const { bot, client } = await w.asBot()
  const key = { type: 'bot', id: bot.id, name: 's' }
  const { state } = await client.setState({ ...key, payload: { a: 1 }, expiry: 1500 })
  assert.equal(state.expiry, 1500)
  const left = Date.parse(state.expiresAt) - Date.parse(state.updatedAt)
  assert.ok(Math.abs(left - 1500) < 50, `expires ${left} ms after the write`)
  assert.deepEqual((await client.getState(key)).state.payload, { a: 1 })
  await sleep(1800)
  await w.refused('ResourceNotFound', client.getState(key))
  await w.refused('ResourceNotFound', client.patchState({ ...key, payload: {} }))
  const { state: fresh } = await client.getOrSetState({ ...key, payload: { b: 2 } })
  assert.deepEqual(fresh.payload, { b: 2 })
})

every('reading restarts the idle clock', 'getState', async (w) => {
  const { bot, client } = await w.asBot()
  const key = { type: 'bot', id: bot.id, name: 's' }
  await client.setState({ ...key, payload: { a: 1 }, expiry: 2000 })
  for (let n = 0; n < 3; n++) {
    await sleep(800)
    assert.deepEqual((await client.getState(key)).state.payload, { a: 1 })
  }
})

every('setStateExpiry sets and clears the expiry', 'setStateExpiry', async (w) => {
  const { bot, client } = await w.asBot()
  const key = { type: 'bot', id: bot.id, name: 's' }
  await client.setState({ ...key, payload: { a: 1 } })
  const { state } = await client.setStateExpiry({ ...key, expiry: 2592000000 })
  assert.equal(state.expiry, 2592000000)
  assert.deepEqual(state.payload, { a: 1 })
  const { state: never } = await client.setStateExpiry({ ...key, expiry: null })
  assert.equal(never.expiry ?? null, null)
  assert.equal(never.expiresAt ?? null, null)
  await w.refused('InvalidPayload', client.setStateExpiry({ ...key, expiry: 0 }))
  await w.refused('InvalidPayload', client.setStateExpiry({ ...key, expiry: 2592000001 }))
})

every('a write without expiry keeps it, null takes it away', 'setState', async (w) => {
  const { bot, client } = await w.asBot()
  const key = { type: 'bot', id: bot.id, name: 's' }
  await client.setState({ ...key, payload: {}, expiry: 60000 })
  assert.equal((await client.setState({ ...key, payload: { a: 1 } })).state.expiry, 60000)
  const { state } = await client.setState({ ...key, payload: { a: 1 }, expiry: null })
  assert.equal(state.expiry ?? null, null)
})

every('the expiry of a bot’s state is told to the bot once', 'listEvents', async (w) => {
  const { bot, client } = await w.asBot()
  await client.setState({ type: 'bot', id: bot.id, name: 'session', payload: { last: 'words' }, expiry: 100 })
  const events = await eventually(
    async () => {
      const got = (await client.listEvents({ type: 'state_expired' })).events
      return got.length > 0 && got
    },
    { what: 'the event state_expired' },
  )
  assert.equal(events.length, 1)
  assert.equal(events[0].payload.state.name, 'session')
  assert.deepEqual(events[0].payload.state.payload, { last: 'words' })
  await sleep(300)
  assert.equal((await client.listEvents({ type: 'state_expired' })).events.length, 1)
})

every('a declared state’s type, schema and expiry hold', 'setState', async (w) => {
  const schema = { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] }
  const bot = await w.newBot({ states: { counter: { type: 'bot', schema, expiry: 5000 } } })
  const { client } = await w.asBot(bot)
  const key = { type: 'bot', id: bot.id, name: 'counter' }
  const { user } = await client.createUser({ tags: {} })
  await w.refused('InvalidPayload', client.setState({ type: 'user', id: user.id, name: 'counter', payload: { n: 1 } }))
  const { state } = await client.setState({ ...key, payload: { n: 1 } })
  assert.equal(state.expiry, 5000)
})

every('workflow and task states belong to existing ones', 'createWorkflow', async (w) => {
  const { client } = await w.asBot()
  const { workflow } = await client.createWorkflow({ name: 'w', status: 'listening' })
  const key = { type: 'workflow', id: workflow.id, name: 'undeclared' }
  assert.deepEqual((await client.setState({ ...key, payload: { a: 1 } })).state.payload, { a: 1 })
  assert.deepEqual((await client.getState(key)).state.payload, { a: 1 })
  await w.refused('ResourceNotFound', client.setState({ type: 'workflow', id: nobody('wrkflow'), name: 's', payload: {} }))
})

once('an expiry out of range is refused by plain HTTP as well', async (w) => {
  const { id: botId } = await w.newBot()
  const target = `/v1/chat/states/bot/${botId}/s`
  await refusedRaw('InvalidPayload', 'POST', target, { botId, body: { payload: {}, expiry: -1 } })
  await refusedRaw('InvalidPayload', 'POST', target, { botId, body: {} })
})
