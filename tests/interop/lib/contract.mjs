// What an answer must look like, from the OpenAPI documents in `spec/cloud` and our own beside them.
//
// Stricter than the documents in three ways: an object with declared properties is closed unless
// it says otherwise; a `date-time` has exactly the 24 characters of runtime.md § 1; an error's
// `code` is the HTTP status. Answers to routes the documents don't have are checked only when they
// are errors under `/v1`.

import { readFileSync } from 'node:fs'
import Ajv from 'ajv'
import addFormats from 'ajv-formats'

const DOCUMENTS = ['cloud/runtime', 'cloud/admin', 'duologue'].map((name) =>
  JSON.parse(readFileSync(new URL(`../../../spec/${name}.openapi.json`, import.meta.url), 'utf8')),
)

/**
 * Fields we send beyond the documents, by component schema or operation. A bot's `url` says where it
 * runs, `blocked` that it may not write: both can be set, so both can be seen.
 */
const OURS = { Bot: ['authentication', 'blocked', 'url'] }

const TIMESTAMP = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/
const ERROR_ID = /^err_\d{14}x[0-9A-F]{8}$/

const ajv = new Ajv({ strict: false, allErrors: true, validateSchema: false })
addFormats(ajv)
ajv.addFormat('date-time', TIMESTAMP)

/** OpenAPI 3.0's schema as JSON Schema: `$ref` inlined, `nullable` a type, objects closed. */
function convert(schema, document, name) {
  if (schema.$ref) {
    const target = schema.$ref.split('/').pop()
    return convert(document.components.schemas[target], document, target)
  }
  if (schema.allOf) return convert(united(schema, document), document, name)
  const out = { ...schema }
  if (schema.properties) {
    out.properties = Object.fromEntries(
      Object.entries(schema.properties).map(([key, value]) => [key, convert(value, document)]),
    )
    for (const field of OURS[name] ?? []) out.properties[field] = {}
    if (out.additionalProperties === undefined) out.additionalProperties = false
  }
  if (schema.items) out.items = convert(schema.items, document)
  if (schema.additionalProperties && typeof schema.additionalProperties === 'object') {
    out.additionalProperties = convert(schema.additionalProperties, document)
  }
  delete out.nullable
  return schema.nullable ? { anyOf: [out, { type: 'null' }] } : out
}

/** An object made of several, as one: closing each by itself would refuse the fields of the others. */
function united({ allOf }, document) {
  const parts = allOf.map((part) => (part.$ref ? document.components.schemas[part.$ref.split('/').pop()] : part))
  return {
    type: 'object',
    required: parts.flatMap((part) => part.required ?? []),
    properties: Object.assign({}, ...parts.map((part) => part.properties)),
  }
}

/** All operations: `{ id, method, segments, status, validate }`, static paths before parameters. */
export const operations = DOCUMENTS.flatMap((document) =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item)
      .filter(([method]) => ['get', 'put', 'post', 'patch', 'delete'].includes(method))
      .map(([method, operation]) => {
        const status = Object.keys(operation.responses).find((code) => /^2\d\d$/.test(code))
        let compiled
        return {
          id: operation.operationId,
          method: method.toUpperCase(),
          path,
          segments: path.split('/').slice(1),
          status: Number(status),
          /** Media types of the answer; empty if the document doesn't say. */
          types: Object.keys(operation.responses[status].content ?? {}),
          validate(body) {
            const { schema } = operation.responses[status].content['application/json']
            compiled ??= ajv.compile(convert(schema, document, operation.operationId))
            return compiled(body) ? [] : compiled.errors
          },
        }
      }),
  ),
).sort((a, b) => specificity(b) - specificity(a))

function specificity({ segments }) {
  return segments.reduce((sum, segment, i) => sum + (segment.startsWith('{') ? 0 : 2 ** (20 - i)), 0)
}

const validateError = ajv.compile(convert({ $ref: '#/components/schemas/Error' }, DOCUMENTS[0]))

/** The names of a document's operations. */
export const operationsOf = (document) =>
  Object.values(document.paths)
    .flatMap((item) => Object.values(item))
    .map((operation) => operation.operationId)
    .filter(Boolean)

/** The operations of the runtime document. */
export const runtimeOperations = operationsOf(DOCUMENTS[0])

/** The operation a raw request target belongs to, if the documents have one. */
export function operationOf(method, target) {
  const segments = target.split('?')[0].split('/').slice(1)
  return operations.find(
    (operation) =>
      operation.method === method &&
      operation.segments.length === segments.length &&
      operation.segments.every((want, i) => want.startsWith('{') || want === segments[i]),
  )
}

/** Everything wrong with one answer, as sentences; empty when it is as documented. */
export function violations({ method, target, status, headers, text }) {
  const operation = operationOf(method, target)
  const ofDialect = target.startsWith('/v1/')
  if (method === 'OPTIONS' || (!operation && (status < 400 || !ofDialect))) return []
  const name = operation?.id ?? 'no operation'
  const wrong = []
  const say = (reason) => wrong.push(`${name}: ${method} ${target} → ${status}: ${reason}`)

  const type = headers['content-type'] ?? 'missing'
  const types = status < 400 ? operation.types : ['application/json']
  if (types.length > 0 && !types.includes(type.split(';')[0])) say(`content-type is ${type}, not ${types.join(' or ')}`)
  if (!types.includes('application/json')) {
    if (status !== operation.status) say(`the documented status is ${operation.status}`)
    return wrong
  }
  let body
  try {
    body = JSON.parse(text)
  } catch {
    say(`the body is not JSON: ${JSON.stringify(text.slice(0, 200))}`)
    return wrong
  }
  if (status >= 400) {
    if (!validateError(body)) describe(validateError.errors, body).forEach(say)
    if (body.code !== status) say(`code ${body.code} differs from the status`)
    if (!ERROR_ID.test(body.id ?? '')) say(`error id ${JSON.stringify(body.id)} has not the documented form`)
    if (!body.message) say('the message is empty')
  } else {
    if (status !== operation.status) say(`the documented status is ${operation.status}`)
    describe(operation.validate(body), body).forEach(say)
  }
  return wrong
}

function describe(errors, body) {
  return errors.map((error) => {
    const extra = error.params.additionalProperty ?? error.params.allowedValues
    const value = error.instancePath
      .split('/')
      .slice(1)
      .reduce((at, key) => at?.[key.replaceAll('~1', '/').replaceAll('~0', '~')], body)
    const shown = JSON.stringify(value)?.slice(0, 120)
    return `${error.instancePath || '/'} ${error.message}${extra ? ` (${extra})` : ''}, got ${shown}`
  })
}
