// Tasks: runtime.md § 13. The newest client no longer knows them, so it is plain HTTP there.

import { assert, eventually, every, nobody, ok, once, recent, refusedRaw } from '../lib/harness.mjs'

every('a task is created with defaults, read back, updated and deleted', 'createTask', async (w) => {
  const { client, conversation, user } = await w.scene()
  const { task } = await client.createTask({ type: 'call', conversationId: conversation.id })
  assert.match(task.id, /^task_[0-9A-HJKMNP-TV-Z]{26}$/)
  assert.equal(task.type, 'call')
  assert.equal(task.conversationId, conversation.id)
  assert.equal(task.status, 'pending')
  assert.deepEqual([task.title, task.description, task.data, task.tags], ['', '', {}, {}])
  const hours = (Date.parse(task.timeoutAt) - Date.parse(task.createdAt)) / 3_600_000
  assert.ok(Math.abs(hours - 24) < 0.01, `${hours} hours`)
  recent(task.createdAt)
  assert.deepEqual((await client.getTask({ id: task.id })).task, task)
  const { task: updated } = await client.updateTask({
    id: task.id, title: 'T', description: 'D', data: { a: 1 }, status: 'in_progress', tags: { a: '1' },
    timeoutAt: '2031-01-01T00:00:00.000Z',
  })
  assert.deepEqual(
    [updated.title, updated.description, updated.data, updated.status, updated.tags, updated.timeoutAt],
    ['T', 'D', { a: 1 }, 'in_progress', { a: '1' }, '2031-01-01T00:00:00.000Z'],
  )
  const { task: child } = await client.createTask({
    type: 'call', conversationId: conversation.id, parentTaskId: task.id, userId: user.id,
  })
  assert.equal(child.parentTaskId, task.id)
  assert.equal(child.userId, user.id)
  assert.deepEqual(await client.deleteTask({ id: child.id }), {})
  await w.refused('ResourceNotFound', client.getTask({ id: child.id }))
  await w.refused('ResourceNotFound', client.deleteTask({ id: child.id }))
})

every('wrong tasks are refused', 'createTask', async (w) => {
  const { client, conversation } = await w.scene()
  await w.refused('InvalidPayload', client.createTask({ conversationId: conversation.id }))
  await w.refused('ReferenceNotFound', client.createTask({ type: 't', conversationId: nobody('conv') }))
  const task = { type: 't', conversationId: conversation.id }
  await w.refused('ReferenceNotFound', client.createTask({ ...task, userId: nobody('user') }))
  await w.refused('ReferenceNotFound', client.createTask({ ...task, parentTaskId: nobody('task') }))
  const id = nobody('task')
  await w.refused('ResourceNotFound', client.getTask({ id }))
  await w.refused('ResourceNotFound', client.updateTask({ id, title: 'x' }))
})

every('list filters by type, statuses, links and tags', 'listTasks', async (w) => {
  const { client, conversation, user } = await w.scene()
  const make = async (fields) =>
    (await client.createTask({ type: 't', conversationId: conversation.id, ...fields })).task.id
  const a = await make({ tags: { t: '1' } })
  const b = await make({ type: 'other', userId: user.id })
  const c = await make({ parentTaskId: a })
  await client.updateTask({ id: c, status: 'completed' })
  const list = async (filter) => (await client.listTasks(filter)).tasks.map((x) => x.id)
  assert.deepEqual(await list({ conversationId: conversation.id }), [c, b, a])
  assert.deepEqual(await list({ type: 'other' }), [b])
  assert.deepEqual(await list({ userId: user.id }), [b])
  assert.deepEqual(await list({ parentTaskId: a }), [c])
  assert.deepEqual(await list({ tags: { t: '1' } }), [a])
  assert.deepEqual(await list({ status: ['completed'] }), [c])
  assert.deepEqual(await list({ status: ['completed', 'pending'] }), [c, b, a])
})

every('a task state belongs to an existing task; its time comes', 'createTask', async (w) => {
  const { client, conversation } = await w.scene()
  const { task } = await client.createTask({
    type: 't', conversationId: conversation.id, timeoutAt: new Date(Date.now() + 300).toISOString(),
  })
  await client.setState({ type: 'task', id: task.id, name: 's', payload: { a: 1 } })
  assert.deepEqual((await client.getState({ type: 'task', id: task.id, name: 's' })).state.payload, { a: 1 })
  await eventually(async () => (await client.getTask({ id: task.id })).task.status === 'timeout', {
    what: 'the status "timeout"',
  })
})

once('the five operations by plain HTTP', async (w) => {
  const { bot, conversation } = await w.scene()
  const botId = bot.id
  const { task } = await ok('POST', '/v1/chat/tasks', { botId, body: { type: 't', conversationId: conversation.id } })
  const target = `/v1/chat/tasks/${task.id}`
  assert.deepEqual((await ok('GET', target, { botId })).task, task)
  assert.equal((await ok('PUT', target, { botId, body: { status: 'blocked' } })).task.status, 'blocked')
  assert.deepEqual((await ok('GET', '/v1/chat/tasks?status=blocked', { botId })).tasks.map((t) => t.id), [task.id])
  assert.deepEqual(await ok('DELETE', target, { botId }), {})
  await refusedRaw('ResourceNotFound', 'GET', target, { botId })
})
