// A bot with a handler and a hook of every kind; each notes what it got.

import * as bp from '@botpress/sdk'
import { note } from './note'

const { z } = bp

export const definition = new bp.BotDefinition({
  configuration: { schema: z.object({ greeting: z.string() }) },
  states: { short: { type: 'conversation', schema: z.object({ n: z.number() }), expiry: 1000 } },
  events: {
    placed: { schema: z.object({ order: z.number() }) },
    tick: { schema: z.object({ topics: z.array(z.string()) }) },
  },
  recurringEvents: { everyMinute: { type: 'tick', payload: { topics: ['orders'] }, schedule: { cron: '* * * * *' } } },
  actions: {
    double: { input: { schema: z.object({ n: z.number() }) }, output: { schema: z.object({ n: z.number() }) } },
  },
})

const bot: any = new bp.Bot({
  register: async (props) => {
    await note(props, 'register', { operation: props.ctx.operation })
  },
  actions: {
    double: async (props: any) => {
      await note(props, 'action', { input: props.input })
      if (props.input.n < 0) throw new bp.RuntimeError('Not below zero.')
      return { n: props.input.n * 2 }
    },
  } as any,
  plugins: {},
})

bot.on.message('text', async (props: any) => {
  const { client, ctx, message, conversation, user, event } = props
  await note(props, 'message text', {
    text: message.payload.text,
    ids: [conversation.id, user.id, message.id],
    event: [event.type, event.conversationId, event.userId, event.messageId],
    operation: ctx.operation,
    configuration: ctx.configuration,
  })
  if (message.payload.text === 'reply') {
    const payload = { text: 'replied' }
    await client.createMessage({ conversationId: conversation.id, userId: ctx.botId, type: 'text', payload, tags: {} })
  }
  if (message.payload.text === 'double') {
    const { output } = await client.callAction({ type: 'double', input: { n: 20 } })
    await note(props, 'doubled', { output })
  }
  if (message.payload.text === 'fail') throw new bp.RuntimeError('Failed on purpose.')
})
bot.on.message('image', (props: any) => note(props, 'message image', { payload: props.message.payload }))
bot.on.message('*', (props: any) => note(props, 'message *', { type: props.message.type }))

bot.on.event('placed', (props: any) => note(props, 'event placed', { payload: props.event.payload, id: props.event.id }))
bot.on.event('desk:rung', (props: any) => note(props, 'event desk:rung', { payload: props.event.payload }))
bot.on.event('tick', (props: any) => note(props, 'event tick', { payload: props.event.payload, id: props.event.id }))
bot.on.event('*', (props: any) => note(props, 'event *', { type: props.event.type }))

bot.on.stateExpired('short', (props: any) => note(props, 'expired short', { state: props.state }))
bot.on.stateExpired('*', (props: any) => note(props, 'expired *', { name: props.state.name }))

bot.on.workflowStart('job', async (props: any) => {
  await note(props, 'workflow start', { input: props.workflow.input, status: props.workflow.status })
  await props.workflow.acknowledgeStartOfProcessing()
})
bot.on.workflowContinue('job', async (props: any) => {
  const { workflow } = props
  await note(props, 'workflow continue', { status: workflow.status })
  await workflow.acknowledgeStartOfProcessing()
  await workflow.setCompleted({ output: { done: workflow.input.of } })
})
bot.on.workflowTimeout('job', async (props: any) => {
  const { workflow } = props
  await workflow.acknowledgeStartOfProcessing()
  await note(props, 'workflow timeout', { status: workflow.status, type: props.event.payload.type })
  await workflow.setFailed({ failureReason: 'too late' })
})
bot.on.workflowStart('lazy', (props: any) => note(props, 'workflow lazy', {}))

bot.on.beforeIncomingMessage('*', async (props: any) => {
  await note(props, 'before message', { text: props.data.payload.text })
  if (props.data.payload.text === 'stop') return { stop: true }
  if (props.data.payload.text === 'change me') {
    return { data: { ...props.data, payload: { text: 'changed' } } }
  }
  return undefined
})
bot.on.afterIncomingMessage('text', async (props: any) => {
  await note(props, 'after message', { text: props.data.payload.text })
  return undefined
})
bot.on.beforeIncomingEvent('*', async (props: any) => {
  await note(props, 'before event', { type: props.data.type })
  return undefined
})
bot.on.afterIncomingEvent('*', async (props: any) => {
  await note(props, 'after event', { type: props.data.type })
  return undefined
})
bot.on.beforeOutgoingMessage('text', async ({ data }: any) => ({ data: { ...data, tags: { ...data.tags, intent: 'reply' } } }))
bot.on.afterOutgoingMessage('text', async (props: any) => {
  await note(props, 'after outgoing message', { id: props.data.message.id })
  return undefined
})
bot.on.beforeOutgoingCallAction('*', async ({ data }: any) => ({ data: { ...data, input: { n: data.input.n + 1 } } }))
bot.on.afterOutgoingCallAction('*', async (props: any) => {
  await note(props, 'after outgoing action', { output: props.data.output })
  return undefined
})
bot.on.beforeIncomingCallAction('*', async (props: any) => {
  await note(props, 'before action', { input: props.data.input })
  return undefined
})
bot.on.afterIncomingCallAction('*', async (props: any) => {
  await note(props, 'after action', { output: props.data.output })
  return undefined
})

export default bot
