// An integration with every operation; each notes what it got.

import * as bp from '@botpress/sdk'
import { note } from './note'

const integration: any = new bp.Integration({
  register: async (props: any) => {
    if (props.ctx.configuration.greeting === 'none') throw new bp.RuntimeError('a greeting is needed')
    await note(props, 'register', { webhookUrl: props.webhookUrl, greeting: props.ctx.configuration.greeting })
    await props.client.configureIntegration({ identifier: props.ctx.webhookId })
  },
  unregister: async (props: any) => {
    await note(props, 'unregister', { webhookUrl: props.webhookUrl })
  },
  handler: async (props: any) => {
    const { req, client } = props
    await note(props, 'webhook', { req })
    if (req.path === '/throw') throw new bp.RuntimeError('not this one')
    if (req.path === '/nothing') return undefined
    if (req.path === '/say') {
      const { name, room, text } = JSON.parse(req.body)
      const { user } = await client.getOrCreateUser({ tags: { name } })
      const { conversation } = await client.getOrCreateConversation({ channel: 'dm', tags: { room } })
      const said = { conversationId: conversation.id, userId: user.id, type: 'text', payload: { text }, tags: { id: 'm1' } }
      const { message } = await client.createMessage(said)
      return { status: 201, headers: { 'x-message': message.id }, body: message.id }
    }
    return { status: 418, headers: { 'x-path': req.path, 'content-type': 'text/plain' }, body: `${req.method} ${req.query}: ${req.body ?? ''}` }
  },
  actions: {
    greet: async (props: any) => {
      if (props.input.name === 'nobody') throw new bp.RuntimeError('nobody is here')
      return { text: `${props.ctx.configuration.greeting}, ${props.input.name}` }
    },
  } as any,
  channels: {
    dm: {
      messages: {
        text: async (props: any) => {
          const { payload, conversation, user, message, type } = props
          await note(props, 'said', { type, payload, tags: conversation.tags, channel: conversation.channel, user: user.id })
          if (payload.text === 'refuse') throw new bp.RuntimeError('too rude')
          await props.ack({ tags: { id: `sent ${message.id}` } })
        },
      },
    },
  } as any,
  createUser: async (props: any) => {
    const { user } = await props.client.getOrCreateUser({ tags: props.tags })
    await note(props, 'create user', { tags: props.tags })
    return { status: 200, body: JSON.stringify({ user: { id: user.id } }) }
  },
  createConversation: async (props: any) => {
    const { conversation } = await props.client.getOrCreateConversation({ channel: props.channel, tags: props.tags })
    await note(props, 'create conversation', { channel: props.channel, tags: props.tags })
    return { status: 200, body: JSON.stringify({ conversation: { id: conversation.id } }) }
  },
})

export default integration
