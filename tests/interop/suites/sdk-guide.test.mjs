// The guide (`docs/sdk-rust.md`) in TypeScript, step by step, by a bot of the official SDK.

import { readFileSync } from 'node:fs'
import { assert, eventually, once } from '../lib/harness.mjs'
import { definitionOf, eachWay, updateBot } from '../lib/sdk.mjs'

eachWay('the guide, step by step', async (w, way) => {
  const { bot, client } = await w.asBot()
  const integration = await w.newIntegration({ events: { opened: { schema: {} } } })
  await w.install(bot, integration, 'webchat')
  const { configuration, ...definition } = await definitionOf('guide')
  const deployed = await updateBot(bot, {
    ...definition,
    ...(await way('guide')),
    configuration: { ...configuration, data: { greeting: 'Good day' } },
  })
  assert.equal(deployed.states.basket.expiry, 900_000)
  assert.equal(deployed.recurringEvents.everyMorning.schedule.cron, '0 8 * * *')
  const webchat = w.asIntegration(bot, integration, 'webchat')
  const { conversation } = await webchat.createConversation({ channel: 'channel', tags: {} })
  const { user } = await webchat.createUser({ name: 'Ada', tags: {} })
  const counter = () => client.getState({ type: 'bot', id: bot.id, name: 'counter' }).catch(() => undefined)
  const registered = await eventually(counter, { limit: 60_000, what: 'the registration' })
  assert.deepEqual(registered.state.payload, { orders: 0 })

  const messages = async () => {
    const all = []
    let nextToken
    do {
      const page = await client.listMessages({ conversationId: conversation.id, nextToken })
      all.push(...page.messages)
      nextToken = page.meta.nextToken
    } while (nextToken)
    return all.reverse()
  }
  const said = async () =>
    (await messages()).filter((one) => one.direction === 'outgoing').map((one) => one.payload.text ?? one.type)
  const idle = () =>
    eventually(async () => (await client.listEvents({ status: 'pending' })).events.length === 0, { what: 'the end of it' })
  /** What the bot says until everything that came of something is done. */
  const during = async (something) => {
    const before = (await said()).length
    await something()
    await idle()
    return (await said()).slice(before)
  }
  const hear = (text) =>
    during(() =>
      webchat.createMessage({ conversationId: conversation.id, userId: user.id, type: 'text', payload: { text }, tags: {} }),
    )
  const hears = async (text, ...answers) => assert.deepEqual(await hear(text), answers, text)

  // Conversations
  await hears('hello', 'Good day, Ada')
  await hears('choose', 'Tea or coffee?', 'image', 'rating')
  await hears('conversations', '0 about orders')
  await hears('topic', 'This is about orders, 1 tag')
  await hears('conversations', '1 about orders')
  await hears('participants', '2 take part')
  const before = await messages()
  assert.equal(before.find((one) => one.type === 'text' && one.direction === 'outgoing').tags.intent, 'reply', "the hook's tag")
  await hears('transcript', `${before.length + 1} so far`)
  await hears('remind')

  // Users
  await hears('users', '0 with gold')
  await hears('promote', 'Ada of the Gold has gold')
  await hears('users', '1 with gold')
  await hears('tiers', 'Tiers: gold')

  // States
  await hears('states', '1 visits, 0 orders')
  await hears('states', '2 visits, 0 orders')
  await hears('patch', 'fr after 2 visits')
  await hears('list states', 'Kept: profile')
  const basket = { type: 'conversation', id: conversation.id, name: 'basket' }
  const { state } = await client.getState(basket)
  assert.deepEqual([state.expiry, state.payload], [900_000, { items: ['tea'] }])
  await hears('expiry', 'It stays 60000 ms')
  const expired = await during(async () => {
    await client.setStateExpiry({ ...basket, expiry: 1 })
    await eventually(async () => (await client.listEvents({ type: 'state_expired' })).events.length > 0)
  })
  assert.deepEqual(expired, ['Your basket with coffee is gone'])
  await hears('forget', 'Forgotten')
  await hears('list states', 'Kept: ')

  // Events
  await hears('order', 'Order 1 is placed')
  await hears('later', 'orderPlaced is scheduled')
  await hears('cancel', '1 cancelled')
  const opened = { type: 'opened', payload: { page: 1 }, conversationId: conversation.id }
  assert.deepEqual(await during(() => webchat.createEvent(opened)), ['Opened with {"page":1}'])
  const report = { type: 'dailyReport', payload: { topics: ['orders', 'returns'] } }
  assert.deepEqual(await during(() => client.createEvent(report)), ['Report on orders, returns'])

  // Actions
  await hears('ask price', '250 cents')
  await w.refused('Runtime', client.callAction({ type: 'price', input: { item: 'gold' } }), /We have no gold/)

  // Workflows
  const finished = (status) =>
    eventually(async () => (await client.listWorkflows({ statuses: [status] })).workflows.find((one) => one.status === status), {
      what: `a workflow that is ${status}`,
    })
  const parcels = await during(async () => {
    await hear('start delivery')
    await finished('completed')
  })
  assert.deepEqual(parcels, ['Parcel 1 of 2', 'Parcel 2 of 2'])
  const done = await finished('completed')
  assert.deepEqual(done.output, { parcels: 2 })
  const progress = await client.getState({ type: 'workflow', id: done.id, name: 'progress' })
  assert.deepEqual(progress.state.payload, { done: 2 })
  const timeoutAt = new Date(Date.now() + 50).toISOString()
  await client.createWorkflow({ name: 'delivery', status: 'listening', input: { parcels: 1 }, timeoutAt })
  assert.equal((await finished('failed')).failureReason, 'nobody was at home')

  // Deletion, in the middle of a handler for what is deleted
  await hears('states', '1 visits, 0 orders')
  await hears('erase me')
  await w.refused('ResourceNotFound', client.getUser({ id: user.id }))
  await w.refused('ResourceNotFound', client.getState({ type: 'user', id: user.id, name: 'profile' }))
  const { user: second } = await webchat.createUser({ tags: {} })
  const text = { type: 'text', payload: { text: 'clean up' }, tags: {} }
  await webchat.createMessage({ ...text, conversationId: conversation.id, userId: second.id })
  await eventually(async () => (await client.listConversations({})).conversations.length === 0, { what: 'the deletion' })
  await w.refused('ResourceNotFound', client.getState(basket))
  await idle()
  for (const status of ['failed', 'ignored']) {
    assert.deepEqual((await client.listEvents({ status })).events, [], status)
  }
})

once('every sample in TypeScript is in that bot', async () => {
  const here = (path) => readFileSync(new URL(path, import.meta.url), 'utf8')
  // Types, indentation and what the guide adds around a sample aside.
  const bare = (text) => text.replaceAll(/: (any\[\]|any\b|string\b|object\b)/g, '').replaceAll(/\(([a-z]+)\) =>/g, '$1 =>').replaceAll(/\s+/g, ' ').trim()
  const bot = bare(here('../code/guide.ts'))
  const samples = here('../../../docs/sdk-rust.md').split('```ts\n').slice(1).map((rest) => rest.split('```')[0])
  // The first is a bot of its own, another has one action only. A handler of messages is a step there.
  const paragraphs = samples
    .filter((sample) => !sample.startsWith('import'))
    .flatMap((sample) => sample.split('\n\n'))
    .filter((paragraph) => !paragraph.startsWith('const bot ='))
    .map((paragraph) => paragraph.replace(/^bot\.on\.message\(.*\n([^]*)\}\)\n*$/, '$1'))
  assert.ok(paragraphs.length > 20, `${paragraphs.length} paragraphs`)
  for (const paragraph of paragraphs) {
    const wanted = bare(paragraph.replace('export default ', ''))
    assert.ok(bot.includes(wanted), `code/guide.ts has no such part:\n${paragraph}`)
  }
})
