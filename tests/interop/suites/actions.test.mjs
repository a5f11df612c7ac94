// Actions and integration configuration: runtime.md §§ 10, 11. Without code to call they refuse in
// the dialect's own words.

import { every } from '../lib/harness.mjs'

every('an action of an unknown instance, or an unknown one of its own, is not found', 'callAction', async (w) => {
  const { client } = await w.asBot()
  await w.refused('ResourceNotFound', client.callAction({ type: 'slack:addReaction', input: {} }))
  await w.refused('InvalidPayload', client.callAction({ input: {} }))
  await w.refused('InvalidPayload', client.callAction({ type: 't'.repeat(201), input: {} }))
  await w.refused('InvalidPayload', client.callAction({ type: 'slack:addReaction' }))
})

every('an action of an installed integration whose code is not run says so', 'callAction', async (w) => {
  const bot = await w.newBot()
  const schema = { type: 'object' }
  const integration = await w.newIntegration({ actions: { greet: { input: { schema }, output: { schema } } } })
  const { alias } = await w.install(bot, integration)
  const { client } = await w.asBot(bot)
  await w.refused('Runtime', client.callAction({ type: `${alias}:greet`, input: {} }))
  await w.install(bot, integration, alias, { enabled: false })
  await w.refused('Runtime', client.callAction({ type: `${alias}:greet`, input: {} }))
})

every('only an integration configures itself, and only where its code is run', 'configureIntegration', async (w) => {
  const bot = await w.newBot()
  const { client } = await w.asBot(bot)
  await w.refused('Forbidden', client.configureIntegration({ identifier: 'team-1' }))
  const integration = await w.newIntegration()
  await w.install(bot, integration)
  await w.refused('Runtime', w.asIntegration(bot, integration).configureIntegration({ identifier: 'team-1' }))
})
