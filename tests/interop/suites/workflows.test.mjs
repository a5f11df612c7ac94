// Workflows: runtime.md § 12.

import { assert, eventually, every, nobody, once, raw, recent, unique } from '../lib/harness.mjs'

every('a workflow is created as asked and read back', 'createWorkflow', async (w) => {
  const { client, conversation, user } = await w.scene()
  const timeoutAt = '2031-05-06T07:08:09.010Z'
  const { workflow } = await client.createWorkflow({
    name: 'onboarding',
    status: 'listening',
    input: { step: 1 },
    conversationId: conversation.id,
    userId: user.id,
    timeoutAt,
    tags: { a: '1' },
  })
  assert.match(workflow.id, /^wrkflow_[0-9A-HJKMNP-TV-Z]{26}$/)
  assert.equal(workflow.name, 'onboarding')
  assert.equal(workflow.status, 'listening')
  assert.deepEqual(workflow.input, { step: 1 })
  assert.deepEqual(workflow.output, {})
  assert.equal(workflow.conversationId, conversation.id)
  assert.equal(workflow.userId, user.id)
  assert.equal(workflow.timeoutAt, timeoutAt)
  assert.deepEqual(workflow.tags, { a: '1' })
  assert.equal(workflow.completedAt, undefined)
  recent(workflow.createdAt)
  assert.deepEqual((await client.getWorkflow({ id: workflow.id })).workflow, workflow)
})

every('a workflow times out five minutes from now if nothing is said', 'createWorkflow', async (w) => {
  const { client } = await w.asBot()
  const { workflow } = await client.createWorkflow({ name: 'w', status: 'pending' })
  assert.deepEqual([workflow.input, workflow.output, workflow.tags], [{}, {}, {}])
  const minutes = (Date.parse(workflow.timeoutAt) - Date.parse(workflow.createdAt)) / 60_000
  assert.ok(Math.abs(minutes - 5) < 0.1, `${minutes} minutes`)
})

every('unknown and foreign workflows are not found', 'getWorkflow', async (w) => {
  const { client } = await w.asBot()
  const foreign = await w.asBot()
  const { workflow } = await foreign.client.createWorkflow({ name: 'w', status: 'listening' })
  for (const id of [nobody('wrkflow'), workflow.id]) {
    await w.refused('ResourceNotFound', client.getWorkflow({ id }))
    await w.refused('ResourceNotFound', client.updateWorkflow({ id, status: 'completed' }))
    await w.refused('ResourceNotFound', client.deleteWorkflow({ id }))
  }
})

every('wrong workflows are refused', 'createWorkflow', async (w) => {
  const { client } = await w.asBot()
  await w.refused('InvalidPayload', client.createWorkflow({ status: 'pending' }))
  await w.refused('InvalidPayload', client.createWorkflow({ name: 'w' }))
  await w.refused('InvalidPayload', client.createWorkflow({ name: 'w', status: 'completed' }))
  await w.refused('InvalidPayload', client.createWorkflow({ name: 'w', status: 'in_progress' }))
  await w.refused('InvalidPayload', client.createWorkflow({ name: 'w', status: 'pending', timeoutAt: 'soon' }))
  const workflow = { name: 'w', status: 'listening' }
  await w.refused('ReferenceNotFound', client.createWorkflow({ ...workflow, conversationId: nobody('conv') }))
  await w.refused('ReferenceNotFound', client.createWorkflow({ ...workflow, userId: nobody('user') }))
  await w.refused('ReferenceNotFound', client.createWorkflow({ ...workflow, parentWorkflowId: nobody('wrkflow') }))
})

every('update merges tags and keeps what is absent', 'updateWorkflow', async (w) => {
  const { client, user } = await w.scene()
  const { workflow } = await client.createWorkflow({ name: 'w', status: 'listening', tags: { a: '1', b: '2' } })
  const timeoutAt = '2032-01-01T00:00:00.000Z'
  const { workflow: updated } = await client.updateWorkflow({
    id: workflow.id,
    tags: { a: '', c: '3' },
    userId: user.id,
    timeoutAt,
  })
  assert.deepEqual(updated.tags, { b: '2', c: '3' })
  assert.equal(updated.userId, user.id)
  assert.equal(updated.timeoutAt, timeoutAt)
  assert.equal(updated.status, 'listening')
  await w.refused('InvalidPayload', client.updateWorkflow({ id: workflow.id, status: 'asleep' }))
  await w.refused('InvalidPayload', client.updateWorkflow({ id: workflow.id, status: 'timedout' }))
  await w.refused('InvalidPayload', client.updateWorkflow({ id: workflow.id, status: 'in_progress' }))
})

every('completing keeps the output and ends it for good', 'updateWorkflow', async (w) => {
  const { client } = await w.asBot()
  const { workflow } = await client.createWorkflow({ name: 'w', status: 'listening' })
  const { workflow: done } = await client.updateWorkflow({ id: workflow.id, status: 'completed', output: { r: 1 } })
  assert.equal(done.status, 'completed')
  assert.deepEqual(done.output, { r: 1 })
  recent(done.completedAt)
  for (const status of ['listening', 'paused', 'failed', 'cancelled']) {
    await w.refused('InvalidPayload', client.updateWorkflow({ id: workflow.id, status }))
  }
  assert.equal((await client.getWorkflow({ id: workflow.id })).workflow.status, 'completed')
})

every('failing keeps the reason, cancelling discards the output', 'updateWorkflow', async (w) => {
  const { client } = await w.asBot()
  const make = async () => (await client.createWorkflow({ name: 'w', status: 'listening' })).workflow.id
  const { workflow: failed } = await client.updateWorkflow({ id: await make(), status: 'failed', failureReason: 'no luck' })
  assert.equal(failed.status, 'failed')
  assert.equal(failed.failureReason, 'no luck')
  recent(failed.completedAt)
  const { workflow: cancelled } = await client.updateWorkflow({ id: await make(), status: 'cancelled', output: { r: 1 } })
  assert.equal(cancelled.status, 'cancelled')
  assert.deepEqual(cancelled.output, {})
  recent(cancelled.completedAt)
})

every('a workflow whose time has come is timed out', 'createWorkflow', async (w) => {
  const { client } = await w.asBot()
  const { workflow } = await client.createWorkflow({
    name: 'w',
    status: 'listening',
    timeoutAt: new Date(Date.now() + 300).toISOString(),
  })
  const out = await eventually(
    async () => {
      const { workflow: now } = await client.getWorkflow({ id: workflow.id })
      return now.status === 'timedout' && now
    },
    { what: 'the status "timedout"' },
  )
  recent(out.completedAt)
})

every('a paused workflow does not time out', 'updateWorkflow', async (w) => {
  const { client } = await w.asBot()
  const { workflow } = await client.createWorkflow({
    name: 'w',
    status: 'listening',
    timeoutAt: new Date(Date.now() + 3000).toISOString(),
  })
  await client.updateWorkflow({ id: workflow.id, status: 'paused' })
  await new Promise((resolve) => setTimeout(resolve, 4500))
  assert.equal((await client.getWorkflow({ id: workflow.id })).workflow.status, 'paused')
})

every('delete deletes, twice is not found', 'deleteWorkflow', async (w) => {
  const { client } = await w.asBot()
  const { workflow } = await client.createWorkflow({ name: 'w', status: 'listening' })
  assert.deepEqual(await client.deleteWorkflow({ id: workflow.id }), {})
  await w.refused('ResourceNotFound', client.getWorkflow({ id: workflow.id }))
  await w.refused('ResourceNotFound', client.deleteWorkflow({ id: workflow.id }))
})

every('list filters by name, statuses, links and tags', 'listWorkflows', async (w) => {
  const { client, conversation, user } = await w.scene()
  const make = async (fields) => (await client.createWorkflow({ name: 'w', status: 'listening', ...fields })).workflow.id
  const a = await make({ conversationId: conversation.id, tags: { t: '1' } })
  const b = await make({ userId: user.id, name: 'other' })
  const c = await make({ parentWorkflowId: a })
  await client.updateWorkflow({ id: c, status: 'completed' })
  const list = async (filter) => (await client.listWorkflows(filter)).workflows.map((x) => x.id)
  assert.deepEqual(await list({}), [c, b, a])
  assert.deepEqual(await list({ name: 'other' }), [b])
  assert.deepEqual(await list({ conversationId: conversation.id }), [a])
  assert.deepEqual(await list({ userId: user.id }), [b])
  assert.deepEqual(await list({ parentWorkflowId: a }), [c])
  assert.deepEqual(await list({ tags: { t: '1' } }), [a])
  assert.deepEqual(await list({ statuses: ['completed'] }), [c])
  assert.deepEqual(await list({ statuses: ['completed', 'listening'] }), [c, b, a])
  assert.deepEqual(await list({ statuses: ['failed'] }), [])
})

every('get-or-create matches name and tags', 'getOrCreateWorkflow', async (w) => {
  const { client } = await w.asBot()
  const tags = { id: unique() }
  const wanted = { name: 'w', status: 'listening', tags }
  const first = await client.getOrCreateWorkflow(wanted)
  assert.equal(first.meta.created, true)
  const again = await client.getOrCreateWorkflow(wanted)
  assert.equal(again.meta.created, false)
  assert.equal(again.workflow.id, first.workflow.id)
  const other = await client.getOrCreateWorkflow({ ...wanted, name: 'v' })
  assert.equal(other.meta.created, true, 'another name is another workflow')
  await w.refused('InvalidPayload', client.getOrCreateWorkflow({ ...wanted, status: 'in_progress', tags: { id: unique() } }))
})

once('get-or-create looks only among the active or the finished, if asked', async (w) => {
  const { client } = await w.asBot()
  const tags = { id: unique() }
  const call = (discriminateByStatusGroup) =>
    client.getOrCreateWorkflow({ name: 'w', status: 'listening', tags, discriminateByTags: ['id'], discriminateByStatusGroup })
  const first = await call('active')
  await client.updateWorkflow({ id: first.workflow.id, status: 'completed' })
  const second = await call('active')
  assert.equal(second.meta.created, true, 'the first is finished')
  const finished = await call('finished')
  assert.equal(finished.workflow.id, first.workflow.id)
  assert.equal((await call('active')).workflow.id, second.workflow.id)
})

every('get-or-create is atomic: many at once make one', 'getOrCreateWorkflow', async (w) => {
  const { client } = await w.asBot()
  const wanted = { name: 'w', status: 'listening', tags: { id: unique() } }
  const all = await Promise.all(Array.from({ length: 16 }, () => client.getOrCreateWorkflow(wanted)))
  assert.equal(new Set(all.map((one) => one.workflow.id)).size, 1)
  assert.equal(all.filter((one) => one.meta.created).length, 1)
})

once('an unknown status in a filter is refused', async (w) => {
  const { id: botId } = await w.newBot()
  const answer = await raw('GET', '/v1/chat/workflows?statuses=asleep', { botId })
  assert.equal(answer.status, 400)
  assert.ok(['InvalidQuery', 'InvalidPayload'].includes(answer.body.type), answer.text)
})
