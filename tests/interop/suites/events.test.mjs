// Events: runtime.md § 7.

import { assert, eventually, every, nobody, once, ok, raw, recent, refusedRaw } from '../lib/harness.mjs'

every('an event is created as asked and read back', ['createEvent', 'getEvent'], async (w) => {
  const { client, conversation, user, say } = await w.scene()
  const message = await say('x')
  const { event } = await client.createEvent({
    type: 'ordered',
    payload: { item: { n: 1 } },
    conversationId: conversation.id,
    userId: user.id,
    messageId: message.id,
  })
  assert.match(event.id, /^evt_[0-9A-HJKMNP-TV-Z]{26}$/)
  assert.equal(event.type, 'ordered')
  assert.deepEqual(event.payload, { item: { n: 1 } })
  assert.equal(event.conversationId, conversation.id)
  assert.equal(event.userId, user.id)
  assert.equal(event.messageId, message.id)
  assert.equal(event.status, 'ignored', 'the bot has no code that it could go to')
  assert.equal(event.failureReason, null)
  recent(event.createdAt)
  assert.deepEqual((await client.getEvent({ id: event.id })).event, event)
})

every('types may carry prefixes', 'createEvent', async (w) => {
  const { client } = await w.asBot()
  for (const type of ['bare', 'slack:reaction', 'hitl#assigned', 'acme/crm:ticketCreated']) {
    const { event } = await client.createEvent({ type, payload: {} })
    assert.equal(event.type, type)
    assert.deepEqual((await client.listEvents({ type })).events.map((e) => e.id), [event.id])
  }
})

every('unknown references are refused', 'createEvent', async (w) => {
  const { client } = await w.asBot()
  const foreign = await w.scene()
  const event = { type: 't', payload: {} }
  await w.refused('ReferenceNotFound', client.createEvent({ ...event, conversationId: nobody('conv') }))
  await w.refused('ReferenceNotFound', client.createEvent({ ...event, userId: nobody('user') }))
  await w.refused('ReferenceNotFound', client.createEvent({ ...event, messageId: nobody('msg') }))
  await w.refused('ReferenceNotFound', client.createEvent({ ...event, conversationId: foreign.conversation.id }))
  await w.refused('ReferenceNotFound', client.createEvent({ ...event, userId: foreign.user.id }))
  if (w.since('1.45')) {
    await w.refused('ReferenceNotFound', client.createEvent({ ...event, workflowId: nobody('wrkflow') }))
  }
})

every('malformed events are refused', 'createEvent', async (w) => {
  const { client } = await w.asBot()
  for (const wrong of [
    { payload: {} },
    { type: 't' },
    { type: 't'.repeat(201), payload: {} },
    { type: 't', payload: 'text' },
    { type: 't', payload: {}, conversationId: 'short' },
    { type: 't', payload: {}, schedule: {} },
    { type: 't', payload: {}, schedule: { delay: 5, dateTime: '2030-01-01T00:00:00.000Z' } },
    { type: 't', payload: {}, schedule: { dateTime: 'not a date, but 24 chars' } },
  ]) {
    await w.refused('InvalidPayload', client.createEvent(wrong))
  }
})

every('an unknown event is not found', 'getEvent', async (w) => {
  const { client } = await w.asBot()
  await w.refused('ResourceNotFound', client.getEvent({ id: nobody('evt') }))
  const foreign = await w.asBot()
  const { event } = await foreign.client.createEvent({ type: 't', payload: {} })
  await w.refused('ResourceNotFound', client.getEvent({ id: event.id }))
})

every('list filters by type, links and status', 'listEvents', async (w) => {
  const { client, conversation, user, say } = await w.scene()
  const message = await say('x')
  const make = async (fields) => (await client.createEvent({ type: 'mine', payload: {}, ...fields })).event.id
  const a = await make({ conversationId: conversation.id })
  const b = await make({ userId: user.id })
  const c = await make({ messageId: message.id })
  const later = await make({ type: 'later', schedule: { delay: 3_600_000 } })
  const list = async (filter) => (await client.listEvents(filter)).events.map((e) => e.id)
  assert.deepEqual(await list({ type: 'mine' }), [c, b, a])
  assert.deepEqual(await list({ type: 'mine', conversationId: conversation.id }), [a])
  assert.deepEqual(await list({ type: 'mine', userId: user.id }), [b])
  assert.deepEqual(await list({ type: 'mine', messageId: message.id }), [c])
  assert.deepEqual(await list({ status: 'scheduled' }), [later])
  assert.deepEqual(await list({ type: 'none' }), [])
  assert.deepEqual(await list({ type: 'mine', userId: nobody('user') }), [])
})

once('list filters by workflow', async (w) => {
  const { client } = await w.asBot()
  const { workflow } = await client.createWorkflow({ name: 'w', status: 'listening' })
  const { event } = await client.createEvent({ type: 'mine', payload: {}, workflowId: workflow.id })
  await client.createEvent({ type: 'mine', payload: {} })
  const { events } = await client.listEvents({ type: 'mine', workflowId: workflow.id })
  assert.deepEqual(events.map((e) => e.id), [event.id])
})

once('an unknown status filter is refused', async (w) => {
  const { id: botId } = await w.newBot()
  const answer = await raw('GET', '/v1/chat/events?status=asleep', { botId })
  assert.equal(answer.status, 400)
  assert.ok(['InvalidQuery', 'InvalidPayload'].includes(answer.body.type), answer.text)
})

every('a scheduled event waits and then goes', 'createEvent', async (w) => {
  const { client } = await w.asBot()
  const { event } = await client.createEvent({ type: 'soon', payload: { a: 1 }, schedule: { delay: 1500 } })
  assert.equal(event.status, 'scheduled')
  assert.equal((await client.getEvent({ id: event.id })).event.status, 'scheduled')
  const due = await eventually(async () => {
    const { event: now } = await client.getEvent({ id: event.id })
    return now.status !== 'scheduled' && now
  })
  assert.ok(['pending', 'ignored'].includes(due.status), due.status)
  assert.equal(due.createdAt, event.createdAt, 'createdAt is the creation, not the due time')
  assert.deepEqual(due.payload, { a: 1 })
})

every('dateTime schedules too; a past one is now', 'createEvent', async (w) => {
  const { client } = await w.asBot()
  const make = async (dateTime) => (await client.createEvent({ type: 't', payload: {}, schedule: { dateTime } })).event
  assert.equal((await make(new Date(Date.now() + 3_600_000).toISOString())).status, 'scheduled')
  const past = await make('2020-01-01T00:00:00.000Z')
  await eventually(async () => (await client.getEvent({ id: past.id })).event.status !== 'scheduled')
})

once('a scheduled event is cancelled, once', async (w) => {
  const { bot, client } = await w.asBot()
  const { event } = await client.createEvent({ type: 't', payload: {}, schedule: { delay: 3_600_000 } })
  assert.deepEqual(await client.cancelScheduledEvent({ id: event.id }), {})
  assert.equal((await client.getEvent({ id: event.id })).event.status, 'canceled')
  await w.refused('ResourceNotFound', client.cancelScheduledEvent({ id: event.id }))
  await w.refused('ResourceNotFound', client.cancelScheduledEvent({ id: nobody('evt') }))
  const { event: running } = await client.createEvent({ type: 't', payload: {} })
  await w.refused('ResourceNotFound', client.cancelScheduledEvent({ id: running.id }))
  await refusedRaw('ResourceNotFound', 'DELETE', `/v1/chat/events/scheduled/${nobody('evt')}`, { botId: bot.id })
})

every('many events come in pages', 'listEvents', async (w) => {
  const { bot, client } = await w.asBot()
  for (let n = 0; n < 25; n++) await client.createEvent({ type: 'many', payload: { n } })
  const all = await client.list.events({ type: 'many' }).collect()
  assert.deepEqual(all.map((e) => e.payload.n), Array.from({ length: 25 }, (_, n) => 24 - n))
  const { meta } = await ok('GET', '/v1/chat/events?type=many', { botId: bot.id })
  assert.equal(typeof meta.nextToken, 'string')
})
