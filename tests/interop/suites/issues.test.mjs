// Issues of bots: admin.md § 5.4, bridge-protocol.md § 7.

import { assert, eventually, every, nobody, recent } from '../lib/harness.mjs'

/** Code that reports a problem with each event. */
const CODE = `
const report = (title, what, count) => console.log(JSON.stringify({
  type: 'issue', code: 'TOO_MUCH', category: 'limits', title, description: 'The limit is 3.',
  data: { what: { raw: what, pretty: what.toUpperCase() }, count: { raw: String(count) } }, groupBy: ['what'],
}))
exports.default = {
  handler: async ({ headers }) => {
    if (headers['x-bp-operation'] === 'event_received') {
      report('Too much mail', 'mail', 1)
      report('Too much mail', 'mail', 2)
      report('Too much chat', 'chat', 3)
    }
    return { status: 200, body: '{}' }
  },
}
`

every('what code reports is grouped into issues', 'listBotIssues', async (w) => {
  const admin = w.asAdmin()
  const { bot, client } = await w.asBot(await w.newBot({ code: CODE }))
  const { id } = bot
  assert.deepEqual(await admin.listBotIssues({ id }), { issues: [], meta: {} })
  await client.createEvent({ type: 'happened', payload: {} })
  const issues = await eventually(async () => {
    const { issues } = await admin.listBotIssues({ id })
    return issues.reduce((sum, issue) => sum + issue.eventsCount, 0) >= 3 && issues
  }, { limit: 60_000, what: 'three reports' })
  const mail = issues.find((issue) => issue.groupedData.what.raw === 'mail')
  assert.deepEqual(
    [issues.length, mail.code, mail.category, mail.title, mail.description, mail.eventsCount, mail.resolutionLink],
    [2, 'TOO_MUCH', 'limits', 'Too much mail', 'The limit is 3.', 2, null],
  )
  assert.deepEqual(mail.groupedData, { what: { raw: 'mail', pretty: 'MAIL' } })
  recent(mail.lastSeenAt)
  assert.deepEqual((await admin.getBotIssue({ id, issueId: mail.id })).issue, mail)
  const { issueEvents } = await admin.listBotIssueEvents({ id, issueId: mail.id })
  assert.deepEqual(issueEvents.map((event) => event.data.count), [{ raw: '2' }, { raw: '1' }])
  assert.deepEqual(await admin.deleteBotIssue({ id, issueId: mail.id }), {})
  for (const call of ['getBotIssue', 'deleteBotIssue', 'listBotIssueEvents']) {
    await w.refused('ResourceNotFound', admin[call]({ id, issueId: mail.id }))
  }
  assert.equal((await admin.listBotIssues({ id })).issues.length, 1)
  await w.refused('ResourceNotFound', admin.listBotIssues({ id: nobody('bot') }))
})
