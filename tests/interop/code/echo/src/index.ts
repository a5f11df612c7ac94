// The bot of `duologue bench delivery --hosted`: answers each message with one.

import { Bot, z } from '@botpress/sdk'

const bot = new Bot({ integrations: {}, configuration: { schema: z.object({}) } })

bot.message(async ({ message, client, ctx }) => {
  await client.createMessage({
    conversationId: message.conversationId,
    userId: ctx.botId,
    tags: {},
    type: 'text',
    payload: { text: 'pong' },
  })
})

export default bot
