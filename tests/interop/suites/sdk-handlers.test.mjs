// Every handler and hook of a bot of the official SDK fires, wherever the bot runs:
// bridge-protocol.md §§ 2, 3 and 7.

import { assert, eventually, once } from '../lib/harness.mjs'
import { WAYS, definitionOf, eachWay, noted, notes, updateBot } from '../lib/sdk.mjs'

/** The bot of `code/handlers.ts`, deployed, with an integration `desk` whose user is in a conversation. */
async function scene(w, way) {
  const { bot, client } = await w.asBot()
  const integration = await w.newIntegration({
    events: { rung: { schema: {} } },
    channels: { desk: { messages: { text: { schema: {} }, image: { schema: {} } } } },
  })
  await w.install(bot, integration, 'desk')
  const { configuration, ...definition } = await definitionOf('handlers')
  await updateBot(bot, {
    ...definition,
    ...(await way('handlers')),
    configuration: { ...configuration, data: { greeting: 'Good day' } },
  })
  const desk = w.asIntegration(bot, integration, 'desk')
  const { conversation } = await desk.createConversation({ channel: 'desk', tags: {} })
  const { user } = await desk.createUser({ tags: {} })
  const send = async (type, payload) =>
    (await desk.createMessage({ conversationId: conversation.id, userId: user.id, type, payload, tags: {} })).message
  return { bot, client, desk, conversation, user, send, say: (text) => send('text', { text }) }
}

/** What was noted, by its names, once `last` is. */
const names = (found) => found.map((note) => note.what)

/** Two bots that wait for their minute while the other tests run. */
const waiting = []

once('bots with a recurring event are deployed', async (w) => {
  for (const way of Object.values(WAYS)) waiting.push(await scene(w, way))
})

eachWay('messages, by type and any, and the hooks around them', async (w, way) => {
  const { bot, client, conversation, user, send, say } = await scene(w, way)
  await noted(bot, 'register', (found) => found.length === 1 && found[0].operation === 'register', 60_000)

  const hello = await say('hello')
  await noted(bot, 'after message')
  const all = (await notes(bot)).filter((note) => note.what !== 'register' && !note.what.includes('tick'))
  const [text] = all.filter((note) => note.what === 'message text')
  assert.deepEqual([text.text, text.ids], ['hello', [conversation.id, user.id, hello.id]])
  assert.deepEqual(text.event, ['message_created', conversation.id, user.id, hello.id])
  assert.deepEqual([text.operation, text.configuration], ['event_received', { payload: '{"greeting":"Good day"}' }])
  const order = names(all).filter((name) => name.includes('message'))
  assert.deepEqual([order[0], order.at(-1)], ['before message', 'after message'])
  assert.deepEqual(order.slice(1, -1).sort(), ['message *', 'message text'])

  await send('image', { imageUrl: 'https://example.com/a.png' })
  const [image] = await noted(bot, 'message image')
  assert.deepEqual(image.payload, { imageUrl: 'https://example.com/a.png' })

  await say('stop')
  await say('change me')
  await noted(bot, 'message text', (found) => found.some((note) => note.text === 'changed'))
  const texts = (await notes(bot, 'message text')).map((note) => note.text)
  assert.deepEqual(texts, ['hello', 'changed'], 'in order, without the one that was stopped')
  assert.equal((await client.listEvents({ type: 'message_created', status: 'failed' })).events.length, 0)

  await say('reply')
  const [after] = await noted(bot, 'after outgoing message')
  const { message: reply } = await client.getMessage({ id: after.id })
  assert.deepEqual([reply.payload, reply.direction, reply.userId], [{ text: 'replied' }, 'outgoing', bot.id])
  assert.deepEqual(reply.tags, { intent: 'reply' }, 'what the hook added')

  const failing = await say('fail')
  const failed = await eventually(async () => {
    const { events } = await client.listEvents({ type: 'message_created', messageId: failing.id })
    return events[0]?.status === 'failed' && events[0]
  }, { what: 'the failure' })
  assert.match(failed.failureReason, /Failed on purpose/)
})

eachWay('events: own, of an integration, scheduled', async (w, way) => {
  const { bot, client, desk, conversation } = await scene(w, way)
  const { event } = await client.createEvent({ type: 'placed', payload: { order: 1 }, conversationId: conversation.id })
  const [placed] = await noted(bot, 'event placed', undefined, 60_000)
  assert.deepEqual([placed.payload, placed.id], [{ order: 1 }, event.id])
  await eventually(async () => (await client.getEvent({ id: event.id })).event.status === 'processed')

  await desk.createEvent({ type: 'rung', payload: { times: 2 } })
  assert.deepEqual((await noted(bot, 'event desk:rung'))[0].payload, { times: 2 })

  const { event: later } = await client.createEvent({ type: 'placed', payload: { order: 2 }, schedule: { delay: 1500 } })
  assert.equal(later.status, 'scheduled')
  const { event: never } = await client.createEvent({ type: 'placed', payload: { order: 3 }, schedule: { delay: 1500 } })
  await client.cancelScheduledEvent({ id: never.id })
  const both = await noted(bot, 'event placed', (found) => found.length === 2)
  assert.deepEqual([both[1].id, both[1].payload], [later.id, { order: 2 }])
  assert.ok(both[1].at >= Date.parse(later.createdAt) + 1500, 'not before its time')

  const found = await noted(bot, 'after event', (found) => found.filter((note) => note.type === 'placed').length === 2)
  assert.ok(found.some((note) => note.type === 'desk:rung'))
  for (const what of ['before event', 'event *']) {
    const types = (await notes(bot, what)).map((note) => note.type).filter((type) => type !== 'tick')
    assert.deepEqual(types, ['placed', 'desk:rung', 'placed'], what)
  }
})

eachWay('a state expires', async (w, way) => {
  const { bot, client, conversation } = await scene(w, way)
  await client.setState({ type: 'conversation', id: conversation.id, name: 'short', payload: { n: 1 } })
  const [{ state }] = await noted(bot, 'expired short', undefined, 60_000)
  assert.deepEqual([state.name, state.type, state.conversationId, state.payload], ['short', 'conversation', conversation.id, { n: 1 }])
  await noted(bot, 'expired *', (found) => found.length === 1 && found[0].name === 'short')
  await w.refused('ResourceNotFound', client.getState({ type: 'conversation', id: conversation.id, name: 'short' }))
  await client.setState({ type: 'bot', id: bot.id, name: 'undeclared', payload: {}, expiry: 1 })
  await noted(bot, 'expired *', (found) => found.some((note) => note.name === 'undeclared'))
})

eachWay('workflows: start, continuation, timeout, acknowledgement', async (w, way) => {
  const { bot, client, conversation } = await scene(w, way)
  const create = async (name, fields) => (await client.createWorkflow({ name, status: 'pending', ...fields })).workflow
  const ends = (id, status) =>
    eventually(async () => {
      const { workflow } = await client.getWorkflow({ id })
      return workflow.status === status && workflow
    }, { limit: 60_000, what: `${id} is ${status}` })

  const job = await create('job', { input: { of: 3 }, conversationId: conversation.id })
  const done = await ends(job.id, 'completed')
  assert.deepEqual(done.output, { done: 3 })
  const [start] = await notes(bot, 'workflow start')
  assert.deepEqual([start.input, start.status], [{ of: 3 }, 'pending'])
  const continued = await notes(bot, 'workflow continue')
  assert.deepEqual(continued.map((note) => note.status), ['pending'])

  const late = await create('job', { status: 'listening', timeoutAt: new Date(Date.now() + 300).toISOString() })
  const failed = await ends(late.id, 'failed')
  assert.equal(failed.failureReason, 'too late')
  const timedOut = await noted(bot, 'workflow timeout')
  assert.deepEqual(timedOut.map((note) => [note.status, note.type]), [['timedout', 'workflow_timedout']])

  const lazy = await create('lazy')
  await ends(lazy.id, 'failed')
  assert.equal((await notes(bot, 'workflow lazy')).length, 3, 'never acknowledged: three times')
  const { events } = await client.listEvents({ type: 'workflow_update' })
  const kinds = events.map((event) => event.payload.type).reverse()
  assert.deepEqual(kinds.filter((kind) => kind !== 'workflow_started'), ['workflow_continued', 'workflow_timedout'])
})

eachWay('actions, and the hooks around them', async (w, way) => {
  const { bot, client, say } = await scene(w, way)
  assert.deepEqual((await client.callAction({ type: 'double', input: { n: 4 } })).output, { n: 8 })
  assert.deepEqual((await notes(bot, 'before action')).map((note) => note.input), [{ n: 4 }])
  assert.deepEqual((await notes(bot, 'after action')).map((note) => note.output), [{ n: 8 }])
  await w.refused('Runtime', client.callAction({ type: 'double', input: { n: -1 } }), /Not below zero/)
  await w.refused('InvalidDataFormat', client.callAction({ type: 'double', input: { n: 'many' } }))
  await w.refused('ResourceNotFound', client.callAction({ type: 'triple', input: {} }))
  await say('double')
  const [{ output }] = await noted(bot, 'doubled')
  assert.deepEqual(output, { n: 42 }, 'the hook before it added one')
  assert.deepEqual((await notes(bot, 'after outgoing action')).map((note) => note.output), [{ n: 42 }])
  assert.deepEqual((await notes(bot, 'action')).map((note) => note.input.n), [4, -1, 21])
})

once('a recurring event comes at its minute, to each bot', async () => {
  assert.equal(waiting.length, 2)
  for (const { bot, client } of waiting) {
    const [tick] = await noted(bot, 'event tick', undefined, 75_000)
    assert.deepEqual(tick.payload, { topics: ['orders'] })
    const { event } = await client.getEvent({ id: tick.id })
    assert.ok(new Date(event.createdAt).getSeconds() < 15, event.createdAt)
  }
})
