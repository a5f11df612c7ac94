// The TypeScript of `docs/sdk-rust.md` as one bot: each step is a word that somebody says to it.
// The suite `sdk-guide` looks that every sample of the guide is in here.

import * as bp from '@botpress/sdk'

const { BotDefinition, RuntimeError, z } = bp

export const definition = new BotDefinition({
  configuration: { schema: z.object({ greeting: z.string().describe('What the bot says to newcomers.') }) },
  states: {
    basket: { type: 'conversation', schema: z.object({ items: z.array(z.string()) }), expiry: 15 * 60 * 1000 },
    profile: { type: 'user', schema: z.object({ language: z.string(), visits: z.number() }) },
    counter: { type: 'bot', schema: z.object({ orders: z.number() }) },
  },
  events: {
    orderPlaced: { title: 'Order placed', schema: z.object({ order: z.number() }) },
    dailyReport: { schema: z.object({ topics: z.array(z.string()) }) },
  },
  recurringEvents: {
    everyMorning: { type: 'dailyReport', payload: { topics: ['orders'] }, schedule: { cron: '0 8 * * *' } },
  },
  actions: {
    price: {
      title: 'Price of an item',
      input: { schema: z.object({ item: z.string() }) },
      output: { schema: z.object({ cents: z.number() }) },
    },
  },
  user: { tags: { tier: { description: 'How much they buy' } } },
  conversation: { tags: { topic: { description: 'What it is about' } } },
  message: { tags: { intent: { description: 'What it asks for' } } },
})

const bot: any = new bp.Bot({
  register: async ({ client, ctx }: any) => {
    await client.getOrSetState({ type: 'bot', id: ctx.botId, name: 'counter', payload: { orders: 0 } })
  },
  actions: {
    price: async ({ input }: any) => {
      if (input.item === 'tea') return { cents: 250 }
      throw new RuntimeError(`We have no ${input.item}.`)
    },
  } as any,
  plugins: {},
})

const steps: Record<string, (props: any, say: (text: string) => Promise<void>) => Promise<void>> = {
  async hello({ message, user, ctx, client, conversation }) {
    const { greeting } = JSON.parse(ctx.configuration.payload)
    const reply = (type: string, payload: object) =>
      client.createMessage({ conversationId: conversation.id, userId: ctx.botId, type, payload, tags: {} })
    await reply('text', { text: `${greeting}, ${user.name ?? 'stranger'}` })
  },

  async choose({ ctx, client, conversation }) {
    const reply = (type: string, payload: object) =>
      client.createMessage({ conversationId: conversation.id, userId: ctx.botId, type, payload, tags: {} })
    await reply('choice', {
      text: 'Tea or coffee?',
      options: [{ label: 'Tea', value: 'tea' }, { label: 'Coffee', value: 'coffee' }],
    })
    await reply('image', { imageUrl: 'https://example.com/cups.png' })
    await reply('rating', { stars: 5 })
  },

  async remind({ ctx, client, conversation }) {
    await client.createMessage({
      conversationId: conversation.id,
      userId: ctx.botId,
      type: 'text',
      payload: { text: 'Still there?' },
      tags: { intent: 'reminder' },
      schedule: { delay: 3_600_000 },
    })
  },

  async transcript({ client, conversation }, say) {
    const messages: any[] = []
    let nextToken
    do {
      const page: any = await client.listMessages({ conversationId: conversation.id, nextToken })
      messages.push(...page.messages)
      nextToken = page.meta.nextToken
    } while (nextToken)
    for (const message of messages.reverse()) {
      console.log(message.createdAt, message.direction, message.payload)
    }
    await say(`${messages.length} so far`)
  },

  async conversations({ client }, say) {
    let count = 0
    let nextToken
    do {
      const page: any = await client.listConversations({
        tags: { topic: 'orders' }, sortField: 'updatedAt', sortDirection: 'desc', nextToken,
      })
      count += page.conversations.length
      nextToken = page.meta.nextToken
    } while (nextToken)
    await say(`${count} about orders`)
  },

  async topic({ client, conversation }, say) {
    await client.updateConversation({ id: conversation.id, tags: { topic: 'orders', draft: '' } })
    const changed = await client.getConversation({ id: conversation.id })
    await say(`This is about ${changed.conversation.tags.topic}, ${Object.keys(changed.conversation.tags).length} tag`)
  },

  async participants({ client, conversation }, say) {
    const { participants } = await client.listParticipants({ id: conversation.id })
    await say(`${participants.length} take part`)
  },

  async 'clean up'({ client, conversation }) {
    await client.deleteConversation({ id: conversation.id })
  },

  async users({ client }, say) {
    const { users } = await client.listUsers({ tags: { tier: 'gold' } })
    await say(`${users.length} with gold`)
  },

  async promote({ client, user }, say) {
    await client.updateUser({ id: user.id, name: 'Ada of the Gold', tags: { tier: 'gold' } })
    const changed = await client.getUser({ id: user.id })
    await say(`${changed.user.name} has ${changed.user.tags.tier}`)
  },

  async 'erase me'({ client, user }) {
    await client.deleteUser({ id: user.id })
  },

  async tiers({ client }, say) {
    const { tags } = await client._inner.listTagValues({ key: 'tier', type: 'user' })
    await say(`Tiers: ${tags.map((tag: any) => tag.value).join(', ')}`)
  },

  async states({ client, conversation, user, ctx }, say) {
    await client.setState({ type: 'conversation', id: conversation.id, name: 'basket', payload: { items: ['tea'] } })

    const { state } = await client.getOrSetState({
      type: 'user', id: user.id, name: 'profile', payload: { language: 'en', visits: 0 },
    })
    await client.setState({
      type: 'user', id: user.id, name: 'profile', payload: { ...state.payload, visits: state.payload.visits + 1 },
    })

    const orders = await client
      .getState({ type: 'bot', id: ctx.botId, name: 'counter' })
      .then(({ state }: any) => state.payload.orders)
      .catch((error: any) => {
        if (error.type === 'ResourceNotFound') return 0
        throw error
      })
    await say(`${state.payload.visits + 1} visits, ${orders} orders`)
  },

  async patch({ client, user }, say) {
    const { state } = await client.patchState({ type: 'user', id: user.id, name: 'profile', payload: { language: 'fr' } })
    await say(`${state.payload.language} after ${state.payload.visits} visits`)
  },

  async expiry({ client, conversation }, say) {
    await client.setState({
      type: 'conversation', id: conversation.id, name: 'basket', payload: { items: ['coffee'] }, expiry: 600_000,
    })
    await client._inner.setStateExpiry({ type: 'conversation', id: conversation.id, name: 'basket', expiry: null })
    await client._inner.setStateExpiry({ type: 'conversation', id: conversation.id, name: 'basket', expiry: 60_000 })
    const { state } = await client.getState({ type: 'conversation', id: conversation.id, name: 'basket' })
    await say(`It stays ${state.expiry} ms`)
  },

  async 'list states'({ user, ctx }, say) {
    const answer = await fetch(`${process.env.BP_API_URL}/v1/chat/states?type=user&id=${user.id}`, {
      headers: { authorization: `Bearer ${process.env.BP_TOKEN}`, 'x-bot-id': ctx.botId },
    })
    const { states }: any = await answer.json()
    await say(`Kept: ${states.map((state: any) => state.name).join(', ')}`)
  },

  async forget({ client, user }, say) {
    await client.setState({ type: 'user', id: user.id, name: 'profile', payload: null })
    const gone = await client.getState({ type: 'user', id: user.id, name: 'profile' }).catch((error: any) => error.type)
    await say(gone === 'ResourceNotFound' ? 'Forgotten' : "I can't forget")
  },

  async order({ client, conversation }) {
    await client.createEvent({ type: 'orderPlaced', payload: { order: 1 }, conversationId: conversation.id })
  },

  async later({ client, conversation }, say) {
    const { event } =
    await client.createEvent({
      type: 'orderPlaced', payload: { order: 1000 }, conversationId: conversation.id, schedule: { delay: 3_600_000 },
    })
    await say(`${event.type} is ${event.status}`)
  },

  async cancel({ client }, say) {
    const { events } = await client.listEvents({ type: 'orderPlaced', status: 'scheduled' })
    for (const event of events) {
      await client._inner.cancelScheduledEvent({ id: event.id })
    }
    await say(`${events.length} cancelled`)
  },

  async 'ask price'({ client }, say) {
    const { output } = await client.callAction({ type: 'price', input: { item: 'tea' } })
    await say(`${output.cents} cents`)
  },

  async 'start delivery'({ client, conversation }) {
    await client.createWorkflow({ name: 'delivery', status: 'pending', input: { parcels: 2 }, conversationId: conversation.id })
  },
}

bot.on.message('text', async (props: any) => {
  const { client, ctx, message, conversation } = props
  const say = async (text: string) => {
    await client.createMessage({ conversationId: conversation.id, userId: ctx.botId, type: 'text', payload: { text }, tags: {} })
  }
  await (steps[message.payload.text] ?? (() => say('What?')))(props, say)
})

bot.on.stateExpired('basket', async ({ state, client, ctx }: any) => {
  await client.createMessage({
    conversationId: state.conversationId,
    userId: ctx.botId,
    type: 'text',
    payload: { text: `Your basket with ${state.payload.items.join(', ')} is gone` },
    tags: {},
  })
})

bot.on.event('orderPlaced', async ({ event, client, ctx }: any) => {
  await client.createMessage({
    conversationId: event.conversationId,
    userId: ctx.botId,
    type: 'text',
    payload: { text: `Order ${event.payload.order} is placed` },
    tags: {},
  })
})

bot.on.event('webchat:opened', async ({ event, client, ctx }: any) => {
  const text = `Opened with ${JSON.stringify(event.payload)}`
  const conversationId = event.conversationId
  await client.createMessage({ conversationId, userId: ctx.botId, type: 'text', payload: { text }, tags: {} })
})

bot.on.event('dailyReport', async ({ event, client, ctx }: any) => {
  const { conversations } = await client.listConversations({ tags: { topic: 'orders' } })
  for (const { id } of conversations) {
    const text = `Report on ${event.payload.topics.join(', ')}`
    await client.createMessage({ conversationId: id, userId: ctx.botId, type: 'text', payload: { text }, tags: {} })
  }
})

const deliver = async ({ workflow, client, conversation, ctx }: any) => {
  await workflow.acknowledgeStartOfProcessing()
  const { state } = await client.getOrSetState({ type: 'workflow', id: workflow.id, name: 'progress', payload: { done: 0 } })
  const done = state.payload.done + 1
  await client.setState({ type: 'workflow', id: workflow.id, name: 'progress', payload: { done } })
  const text = `Parcel ${done} of ${workflow.input.parcels}`
  await client.createMessage({
    conversationId: conversation.id, userId: ctx.botId, type: 'text', payload: { text }, tags: {},
  })
  if (done === workflow.input.parcels) await workflow.setCompleted({ output: { parcels: done } })
}
bot.on.workflowStart('delivery', deliver)
bot.on.workflowContinue('delivery', deliver)
bot.on.workflowTimeout('delivery', async ({ workflow }: any) => {
  await workflow.setFailed({ failureReason: 'nobody was at home' })
})

bot.on.beforeOutgoingMessage('text', async ({ data }: any) => {
  return { data: { ...data, tags: { ...data.tags, intent: 'reply' } } }
})

export default bot
