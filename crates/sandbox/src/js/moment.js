// The functions of moment that scripts use most, in English.
const months = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December']
const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const short = names => names.map(name => name.slice(0, 3))
const two = value => String(Math.abs(value)).padStart(2, '0')
const ordinal = value => value + (Math.floor((value % 100) / 10) === 1 ? 'th' : ['th', 'st', 'nd', 'rd'][value % 10] || 'th')

const units = {}
for (const [unit, ...names] of [
  ['millisecond', 'ms', 'milliseconds'],
  ['second', 's', 'seconds'],
  ['minute', 'm', 'minutes'],
  ['hour', 'h', 'hours'],
  ['date', 'D', 'dates'],
  ['day', 'd', 'days'],
  ['week', 'w', 'weeks'],
  ['isoWeek', 'W', 'isoWeeks', 'isoweek', 'isoweeks'],
  ['month', 'M', 'months'],
  ['quarter', 'Q', 'quarters'],
  ['year', 'y', 'years']
]) {
  for (const name of [unit, ...names]) units[name] = unit
}
const unitOf = name => (name === undefined ? undefined : units[name] || units[String(name).toLowerCase()])
const length = { millisecond: 1, second: 1000, minute: 60000, hour: 3600000, day: 86400000, week: 604800000 }

// ---- calendar ----

const leap = year => (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0
const daysIn = (year, month) => [31, leap(year) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month]
const utc = (...parts) => {
  const date = new Date(0)
  date.setUTCFullYear(parts[0], parts[1] || 0, parts[2] === undefined ? 1 : parts[2])
  date.setUTCHours(parts[3] || 0, parts[4] || 0, parts[5] || 0, parts[6] || 0)
  return date.getTime()
}
const local = (...parts) => {
  const date = new Date(2000, 0, 1)
  date.setFullYear(parts[0], parts[1] || 0, parts[2] === undefined ? 1 : parts[2])
  date.setHours(parts[3] || 0, parts[4] || 0, parts[5] || 0, parts[6] || 0)
  return date.getTime()
}

// ---- parsing ----

const iso =
  /^\s*([+-]\d{6}|\d{4})(?:-?(?:(\d\d)(?:-?(\d\d))?|W(\d\d)(?:-?(\d))?|(\d{3})))?(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?)?\s*$/i
const zone = text => {
  if (/^z$/i.test(text)) return 0
  const [, sign, hours, minutes] = /([+-])(\d\d):?(\d\d)?/.exec(text)
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes || 0))
}
const build = ({ year, month = 0, day = 1, hour = 0, minute = 0, second = 0, ms = 0, offset }, asUtc) => {
  const valid = month >= 0 && month < 12 && day >= 1 && day <= daysIn(year, month) && hour <= 24 && minute < 60 && second < 60 && (hour < 24 || !(minute || second || ms))
  if (!valid) return NaN
  const parts = [year, month, day, hour, minute, second, ms]
  if (offset !== undefined) return utc(...parts) - offset * 60000
  return asUtc ? utc(...parts) : local(...parts)
}
const parseIso = (text, asUtc) => {
  const found = iso.exec(text)
  if (!found) return undefined
  const [, year, month, day, week, weekday, dayOfYear, hour, minute, second, fraction, offset] = found
  const parts = { year: Number(year), month: month ? month - 1 : 0, day: Number(day || 1), hour: Number(hour || 0), minute: Number(minute || 0), second: Number(second || 0) }
  parts.ms = fraction ? Math.floor(Number(`0.${fraction}`) * 1000) : 0
  if (offset) parts.offset = zone(offset)
  if (week || dayOfYear) {
    const fourth = new Date(utc(parts.year, 0, 4))
    const first = week ? fourth.getTime() - ((fourth.getUTCDay() + 6) % 7) * length.day : utc(parts.year, 0, 1)
    const date = new Date(first + (week ? (week - 1) * 7 + Number(weekday || 1) - 1 : dayOfYear - 1) * length.day)
    Object.assign(parts, { year: date.getUTCFullYear(), month: date.getUTCMonth(), day: date.getUTCDate() })
  }
  return build(parts, asUtc)
}

const tokens = /\[[^\]]*\]|\\.|MMMM|MMM|MM|Mo|M|YYYYYY|YYYY|YY|Y|Qo|Q|DDDD|DDDo|DDD|DD|Do|D|dddd|ddd|dd|do|d|E|e|GGGG|gggg|WW|Wo|W|ww|wo|w|HH|H|hh|h|kk|k|mm|m|ss|s|S{1,9}|A|a|ZZ|Z|X|x|LTS|LT|LLLL|LLL|LL|L|llll|lll|ll|l|./g
const localFormats = { LT: 'h:mm A', LTS: 'h:mm:ss A', L: 'MM/DD/YYYY', LL: 'MMMM D, YYYY', LLL: 'MMMM D, YYYY h:mm A', LLLL: 'dddd, MMMM D, YYYY h:mm A', l: 'M/D/YYYY', ll: 'MMM D, YYYY', lll: 'MMM D, YYYY h:mm A', llll: 'ddd, MMM D, YYYY h:mm A' }
const expand = format => format.replace(/\[[^\]]*\]|LTS|LT|LLLL|LLL|LL|L|llll|lll|ll|l/g, token => localFormats[token] || token)
const among = names => text => {
  const at = names.findIndex(name => text.toLowerCase().startsWith(name.toLowerCase()))
  return at < 0 ? null : [names[at].length, at]
}
const digits = (low, high) => text => {
  const found = new RegExp(`^\\d{${low},${high}}`).exec(text)
  return found ? [found[0].length, Number(found[0])] : null
}
const readers = {
  YYYY: [digits(1, 4), (p, v) => (p.year = v)],
  Y: [digits(1, 6), (p, v) => (p.year = v)],
  YY: [digits(2, 2), (p, v) => (p.year = v + (v > 68 ? 1900 : 2000))],
  Q: [digits(1, 1), (p, v) => (p.month = (v - 1) * 3)],
  MMMM: [text => among(months)(text) || among(short(months))(text), (p, v) => (p.month = v)],
  MMM: [text => among(months)(text) || among(short(months))(text), (p, v) => (p.month = v)],
  MM: [digits(1, 2), (p, v) => (p.month = v - 1)],
  M: [digits(1, 2), (p, v) => (p.month = v - 1)],
  DDDD: [digits(1, 3), (p, v) => Object.assign(p, { month: 0, dayOfYear: v })],
  DD: [digits(1, 2), (p, v) => (p.day = v)],
  D: [digits(1, 2), (p, v) => (p.day = v)],
  Do: [text => { const found = /^(\d{1,2})(st|nd|rd|th)?/i.exec(text); return found && [found[0].length, Number(found[1])] }, (p, v) => (p.day = v)],
  dddd: [text => among(days)(text) || among(short(days))(text), () => {}],
  ddd: [text => among(days)(text) || among(short(days))(text), () => {}],
  HH: [digits(1, 2), (p, v) => (p.hour = v)],
  H: [digits(1, 2), (p, v) => (p.hour = v)],
  hh: [digits(1, 2), (p, v) => Object.assign(p, { hour: v, twelve: true })],
  h: [digits(1, 2), (p, v) => Object.assign(p, { hour: v, twelve: true })],
  mm: [digits(1, 2), (p, v) => (p.minute = v)],
  m: [digits(1, 2), (p, v) => (p.minute = v)],
  ss: [digits(1, 2), (p, v) => (p.second = v)],
  s: [digits(1, 2), (p, v) => (p.second = v)],
  A: [text => among(['AM', 'PM'])(text), (p, v) => (p.pm = v === 1)],
  a: [text => among(['am', 'pm'])(text), (p, v) => (p.pm = v === 1)],
  Z: [text => { const found = /^(Z|[+-]\d\d:?\d\d)/i.exec(text); return found && [found[0].length, zone(found[0])] }, (p, v) => (p.offset = v)],
  X: [text => { const found = /^-?\d+(\.\d{1,3})?/.exec(text); return found && [found[0].length, Number(found[0])] }, (p, v) => (p.instant = v * 1000)],
  x: [text => { const found = /^-?\d+/.exec(text); return found && [found[0].length, Number(found[0])] }, (p, v) => (p.instant = v)]
}
readers.ZZ = readers.Z
readers.k = readers.kk = readers.H
const fraction = count => [text => { const found = new RegExp(`^\\d{1,${count}}`).exec(text); return found && [found[0].length, Math.floor(Number(`0.${found[0]}`) * 1000)] }, (p, v) => (p.ms = v)]

const parseFormat = (text, format, strict, asUtc) => {
  const parts = { matched: 0 }
  let left = text.trim()
  for (const token of expand(format).match(tokens) || []) {
    const reader = /^S+$/.test(token) ? fraction(token.length) : readers[token]
    if (!reader) {
      const plain = token.replace(/^\[|\]$|^\\/g, '')
      if (left.startsWith(plain)) left = left.slice(plain.length)
      else if (strict) return NaN
      else if (/^\W/.test(left)) left = left.replace(/^\W/, '')
      continue
    }
    if (!strict) left = left.replace(/^\s+/, '')
    const found = reader[0](left)
    if (!found || (strict && /^(YYYY|MM|DD|HH|hh|mm|ss)$/.test(token) && found[0] !== token.length)) {
      if (strict || left) return NaN
      continue
    }
    parts.matched++
    reader[1](parts, found[1])
    left = left.slice(found[0])
  }
  if (!parts.matched || (strict && left)) return NaN
  if (parts.instant !== undefined) return parts.instant
  if (strict && parts.twelve && (parts.hour > 12 || parts.hour < 1)) return NaN
  if (parts.pm !== undefined) parts.hour = (parts.hour % 12) + (parts.pm ? 12 : 0)
  const today = new Date()
  const dated = parts.month !== undefined || parts.day !== undefined
  if (parts.year === undefined) {
    parts.year = asUtc ? today.getUTCFullYear() : today.getFullYear()
    if (parts.month === undefined) parts.month = asUtc ? today.getUTCMonth() : today.getMonth()
    if (!dated) parts.day = asUtc ? today.getUTCDate() : today.getDate()
  }
  const time = build(parts, asUtc)
  return parts.dayOfYear ? time + (parts.dayOfYear - 1) * length.day : time
}
const rfc = /^(?:\w{3},?\s)?\d{1,2}\s\w{3}\s\d{2,4}\s\d\d:\d\d/

const read = (input, format, strict, asUtc) => {
  if (input === undefined && format === undefined) return Date.now()
  if (input === null || input === undefined || input === '') return NaN
  if (input instanceof Moment) return input.time
  if (input instanceof Date) return input.getTime()
  if (typeof input === 'number' && !format) return input
  if (Array.isArray(input)) return build({ year: input[0], month: input[1], day: input[2], hour: input[3], minute: input[4], second: input[5], ms: input[6] }, asUtc)
  if (typeof input === 'object') {
    const at = {}
    for (const key of Object.keys(input)) at[unitOf(key)] = Number(input[key])
    const now = new Date()
    return build({ year: at.year ?? now.getFullYear(), month: at.month ?? 0, day: at.date ?? at.day ?? 1, hour: at.hour, minute: at.minute, second: at.second, ms: at.millisecond }, asUtc)
  }
  const text = String(input)
  if (Array.isArray(format)) {
    for (const each of format) {
      const time = read(text, each, strict, asUtc)
      if (!isNaN(time)) return time
    }
    return NaN
  }
  if (typeof format === 'string') return parseFormat(text, format, strict, asUtc)
  if (format && format.iso) return parseIso(text, asUtc) ?? NaN
  const time = parseIso(text, asUtc)
  if (time !== undefined) return time
  return rfc.test(text) || !strict ? new Date(text).getTime() : NaN
}

// ---- moments ----

class Moment {
  constructor(time, offset) {
    this.time = time
    this.fixed = offset
  }
  // The parts below are of a date shifted by the offset, read as if it were UTC.
  get _at() {
    return new Date(this.time + this.utcOffset() * 60000)
  }
  _put(parts) {
    const at = this._at
    const all = [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate(), at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds(), at.getUTCMilliseconds()]
    parts.forEach((part, place) => {
      if (part !== undefined) all[place] = part
    })
    this.time = this.fixed === undefined ? local(...all) : utc(...all) - this.fixed * 60000
    return this
  }
  clone() {
    return new Moment(this.time, this.fixed)
  }
  isValid() {
    return !isNaN(this.time)
  }
  valueOf() {
    return this.time
  }
  unix() {
    return Math.floor(this.time / 1000)
  }
  toDate() {
    return new Date(this.time)
  }
  toISOString(keepOffset) {
    if (!this.isValid()) return null
    return keepOffset ? this.format('YYYY-MM-DD[T]HH:mm:ss.SSSZ') : new Date(this.time).toISOString()
  }
  toJSON() {
    return this.toISOString()
  }
  toString() {
    return this.format('ddd MMM DD YYYY HH:mm:ss [GMT]ZZ')
  }
  toArray() {
    return ['year', 'month', 'date', 'hour', 'minute', 'second', 'millisecond'].map(unit => this[unit]())
  }
  toObject() {
    return { years: this.year(), months: this.month(), date: this.date(), hours: this.hour(), minutes: this.minute(), seconds: this.second(), milliseconds: this.millisecond() }
  }
  utcOffset(value, keep) {
    if (value === undefined) return this.fixed === undefined ? -new Date(this.time).getTimezoneOffset() : this.fixed
    const offset = typeof value === 'string' ? zone(value) : Math.abs(value) < 16 ? value * 60 : value
    if (keep) this.time += (this.utcOffset() - offset) * 60000
    this.fixed = offset
    return this
  }
  utc(keep) {
    return this.utcOffset(0, keep)
  }
  local() {
    this.fixed = undefined
    return this
  }
  isUtc() {
    return this.fixed === 0
  }
  isUTC() {
    return this.isUtc()
  }
  locale(name) {
    return name === undefined ? 'en' : this
  }
  year(value) {
    if (value === undefined) return this._at.getUTCFullYear()
    return this._put([value, undefined, Math.min(this.date(), daysIn(value, this.month()))])
  }
  month(value) {
    if (value === undefined) return this._at.getUTCMonth()
    if (typeof value === 'string') value = short(months).findIndex(name => value.toLowerCase().startsWith(name.toLowerCase()))
    const year = this.year() + Math.floor(value / 12)
    const month = ((value % 12) + 12) % 12
    return this._put([year, month, Math.min(this.date(), daysIn(year, month))])
  }
  quarter(value) {
    return value === undefined ? Math.floor(this.month() / 3) + 1 : this.month((value - 1) * 3 + (this.month() % 3))
  }
  date(value) {
    return value === undefined ? this._at.getUTCDate() : this._put([undefined, undefined, value])
  }
  day(value) {
    if (value === undefined) return this._at.getUTCDay()
    if (typeof value === 'string') value = short(days).findIndex(name => value.toLowerCase().startsWith(name.toLowerCase()))
    return this.date(this.date() + value - this.day())
  }
  weekday(value) {
    return this.day(value)
  }
  isoWeekday(value) {
    const now = this.day() || 7
    return value === undefined ? now : this.date(this.date() + value - now)
  }
  dayOfYear(value) {
    const at = this._at
    const now = Math.floor((at - utc(at.getUTCFullYear(), 0, 1)) / length.day) + 1
    return value === undefined ? now : this.date(this.date() + value - now)
  }
  _week(first, fourth) {
    const at = this._at
    const shift = (at.getUTCDay() - first + 7) % 7
    const middle = new Date(utc(at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate() - shift + fourth))
    const year = middle.getUTCFullYear()
    return { year, week: Math.floor((middle - utc(year, 0, 1)) / length.week) + 1 }
  }
  isoWeek(value) {
    const { week } = this._week(1, 3)
    return value === undefined ? week : this.add(value - week, 'weeks')
  }
  isoWeekYear() {
    return this._week(1, 3).year
  }
  week(value) {
    const { week } = this._week(0, 6)
    return value === undefined ? week : this.add(value - week, 'weeks')
  }
  weekYear() {
    return this._week(0, 6).year
  }
  daysInMonth() {
    return daysIn(this.year(), this.month())
  }
  isLeapYear() {
    return leap(this.year())
  }
  get(unit) {
    const name = unitOf(unit)
    return name ? this[name]() : NaN
  }
  set(unit, value) {
    if (typeof unit === 'object') {
      for (const key of Object.keys(unit)) this.set(key, unit[key])
      return this
    }
    const name = unitOf(unit)
    return name ? this[name](value) : this
  }
  add(amount, unit) {
    return this._shift(amount, unit, 1)
  }
  subtract(amount, unit) {
    return this._shift(amount, unit, -1)
  }
  _shift(amount, unit, sign) {
    const by = duration(amount, unit)
    const { months: monthCount, days: dayCount, ms } = by.parts
    if (monthCount) this.month(this.month() + sign * monthCount)
    if (dayCount) this.date(this.date() + sign * dayCount)
    this.time += sign * ms
    return this
  }
  startOf(unit) {
    switch (unitOf(unit)) {
      case 'year':
        return this._put([undefined, 0, 1, 0, 0, 0, 0])
      case 'quarter':
        return this._put([undefined, this.month() - (this.month() % 3), 1, 0, 0, 0, 0])
      case 'month':
        return this._put([undefined, undefined, 1, 0, 0, 0, 0])
      case 'week':
        return this._put([undefined, undefined, this.date() - this.day(), 0, 0, 0, 0])
      case 'isoWeek':
        return this._put([undefined, undefined, this.date() - this.isoWeekday() + 1, 0, 0, 0, 0])
      case 'day':
      case 'date':
        return this._put([undefined, undefined, undefined, 0, 0, 0, 0])
      case 'hour':
        return this._put([undefined, undefined, undefined, undefined, 0, 0, 0])
      case 'minute':
        return this._put([undefined, undefined, undefined, undefined, undefined, 0, 0])
      case 'second':
        return this._put([undefined, undefined, undefined, undefined, undefined, undefined, 0])
      default:
        return this
    }
  }
  endOf(unit) {
    const name = unitOf(unit)
    if (!name || name === 'millisecond') return this
    const step = name === 'isoWeek' ? 'week' : name === 'date' ? 'day' : name
    return this.startOf(name).add(1, step).subtract(1, 'ms')
  }
  diff(input, unit, exact) {
    const other = at(input, this)
    const name = unitOf(unit) || 'millisecond'
    let value
    if (['month', 'quarter', 'year'].includes(name)) value = monthsBetween(this, other) / { month: 1, quarter: 3, year: 12 }[name]
    else {
      const shift = ['day', 'date', 'week', 'isoWeek'].includes(name) ? (this.utcOffset() - other.utcOffset()) * 60000 : 0
      value = (this.time - other.time + shift) / (length[name] || length[{ date: 'day', isoWeek: 'week' }[name]])
    }
    return exact ? value : Math.trunc(value) || 0
  }
  _compare(input, unit, test) {
    const other = at(input, this)
    if (!this.isValid() || !other.isValid()) return false
    return unit && unitOf(unit) !== 'millisecond' ? test(this.clone().startOf(unit).time, other.utcOffset(this.utcOffset()).startOf(unit).time) : test(this.time, other.time)
  }
  isBefore(input, unit) {
    return this._compare(input, unit, (a, b) => a < b)
  }
  isAfter(input, unit) {
    return this._compare(input, unit, (a, b) => a > b)
  }
  isSame(input, unit) {
    return this._compare(input, unit, (a, b) => a === b)
  }
  isSameOrBefore(input, unit) {
    return this._compare(input, unit, (a, b) => a <= b)
  }
  isSameOrAfter(input, unit) {
    return this._compare(input, unit, (a, b) => a >= b)
  }
  isBetween(from, to, unit, ends = '()') {
    return (ends[0] === '(' ? this.isAfter(from, unit) : this.isSameOrAfter(from, unit)) && (ends[1] === ')' ? this.isBefore(to, unit) : this.isSameOrBefore(to, unit))
  }
  from(input, bare) {
    return this.isValid() ? duration(this.time - at(input, this).time).humanize(!bare) : 'Invalid date'
  }
  to(input, bare) {
    return this.isValid() ? duration(at(input, this).time - this.time).humanize(!bare) : 'Invalid date'
  }
  fromNow(bare) {
    return this.from(undefined, bare)
  }
  toNow(bare) {
    return this.to(undefined, bare)
  }
  calendar(input) {
    const today = at(input, this).startOf('day')
    const off = this.clone().startOf('day').diff(today, 'days', true)
    const time = this.format('h:mm A')
    if (off < -6 || off >= 7) return this.format('L')
    if (off < -1) return `Last ${days[this.day()]} at ${time}`
    return off < 0 ? `Yesterday at ${time}` : off < 1 ? `Today at ${time}` : off < 2 ? `Tomorrow at ${time}` : `${days[this.day()]} at ${time}`
  }
  format(format) {
    if (!this.isValid()) return 'Invalid date'
    if (format === undefined) format = this.isUtc() ? 'YYYY-MM-DD[T]HH:mm:ss[Z]' : 'YYYY-MM-DD[T]HH:mm:ssZ'
    return expand(format).replace(tokens, token => this._token(token))
  }
  _token(token) {
    const hour = this.hour()
    const offset = this.utcOffset()
    const away = colon => (offset < 0 ? '-' : '+') + two(Math.trunc(offset / 60)) + colon + two(offset % 60)
    if (/^S+$/.test(token)) return String(this.millisecond()).padStart(3, '0').padEnd(9, '0').slice(0, token.length)
    switch (token) {
      case 'YYYY': return String(this.year()).padStart(4, '0')
      case 'Y': return String(this.year())
      case 'YY': return two(this.year() % 100)
      case 'GGGG': return String(this.isoWeekYear())
      case 'gggg': return String(this.weekYear())
      case 'Q': return String(this.quarter())
      case 'Qo': return ordinal(this.quarter())
      case 'MMMM': return months[this.month()]
      case 'MMM': return months[this.month()].slice(0, 3)
      case 'MM': return two(this.month() + 1)
      case 'Mo': return ordinal(this.month() + 1)
      case 'M': return String(this.month() + 1)
      case 'DDDD': return String(this.dayOfYear()).padStart(3, '0')
      case 'DDDo': return ordinal(this.dayOfYear())
      case 'DDD': return String(this.dayOfYear())
      case 'DD': return two(this.date())
      case 'Do': return ordinal(this.date())
      case 'D': return String(this.date())
      case 'dddd': return days[this.day()]
      case 'ddd': return days[this.day()].slice(0, 3)
      case 'dd': return days[this.day()].slice(0, 2)
      case 'do': return ordinal(this.day())
      case 'd':
      case 'e': return String(this.day())
      case 'E': return String(this.isoWeekday())
      case 'WW': return two(this.isoWeek())
      case 'Wo': return ordinal(this.isoWeek())
      case 'W': return String(this.isoWeek())
      case 'ww': return two(this.week())
      case 'wo': return ordinal(this.week())
      case 'w': return String(this.week())
      case 'HH': return two(hour)
      case 'H': return String(hour)
      case 'hh': return two(hour % 12 || 12)
      case 'h': return String(hour % 12 || 12)
      case 'kk': return two(hour || 24)
      case 'k': return String(hour || 24)
      case 'mm': return two(this.minute())
      case 'm': return String(this.minute())
      case 'ss': return two(this.second())
      case 's': return String(this.second())
      case 'A': return hour < 12 ? 'AM' : 'PM'
      case 'a': return hour < 12 ? 'am' : 'pm'
      case 'Z': return away(':')
      case 'ZZ': return away('')
      case 'X': return String(this.unix())
      case 'x': return String(this.time)
      default: return token[0] === '[' ? token.slice(1, -1) : token.replace(/^\\/, '')
    }
  }
}
;['hour', 'minute', 'second', 'millisecond'].forEach((unit, place) => {
  const getter = ['getUTCHours', 'getUTCMinutes', 'getUTCSeconds', 'getUTCMilliseconds'][place]
  Moment.prototype[unit] = function (value) {
    if (value === undefined) return this._at[getter]()
    const parts = []
    parts[3 + place] = value
    return this._put(parts)
  }
})
for (const unit of ['year', 'month', 'quarter', 'day', 'date', 'hour', 'minute', 'second', 'millisecond', 'week', 'isoWeek']) {
  if (unit !== 'date') Moment.prototype[`${unit}s`] = Moment.prototype[unit]
}
Moment.prototype.dates = Moment.prototype.date

const at = (input, like) => (input instanceof Moment ? input.clone() : new Moment(read(input, undefined, false, like.isUtc()), like.fixed))
const monthsBetween = (a, b) => {
  if (a.date() < b.date()) return -monthsBetween(b, a)
  const whole = (b.year() - a.year()) * 12 + (b.month() - a.month())
  const anchor = a.clone().add(whole, 'months')
  const before = b.time - anchor.time < 0
  const other = a.clone().add(whole + (before ? -1 : 1), 'months')
  const part = (b.time - anchor.time) / (before ? anchor.time - other.time : other.time - anchor.time)
  return -(whole + part) || 0
}

// ---- durations ----

const monthDays = 146097 / 4800
const isoDuration = /^(-|\+)?P(?:([-+]?[\d.]+)Y)?(?:([-+]?[\d.]+)M)?(?:([-+]?[\d.]+)W)?(?:([-+]?[\d.]+)D)?(?:T(?:([-+]?[\d.]+)H)?(?:([-+]?[\d.]+)M)?(?:([-+]?[\d.]+)S)?)?$/
const clockDuration = /^(-|\+)?(?:(\d+)[. ])?(\d+):(\d+)(?::(\d+)(?:\.(\d+))?)?$/
class Duration {
  constructor(given) {
    const of = unit => Number(given[unit]) || 0
    this.parts = {
      months: of('month') + of('quarter') * 3 + of('year') * 12,
      days: of('day') + of('date') + (of('week') + of('isoWeek')) * 7,
      ms: of('millisecond') + of('second') * 1000 + of('minute') * 60000 + of('hour') * 3600000
    }
    let days = this.parts.days
    let monthCount = this.parts.months
    let ms = this.parts.ms
    const whole = Math.trunc(ms / length.day)
    if ((ms >= 0 && days >= 0 && monthCount >= 0) || (ms <= 0 && days <= 0 && monthCount <= 0)) {
      days += whole
      ms -= whole * length.day
      const more = Math.trunc(days / monthDays)
      monthCount += more
      days -= Math[days < 0 ? 'floor' : 'ceil'](more * monthDays)
    }
    this.shown = { years: Math.trunc(monthCount / 12), months: monthCount % 12, days: Math.trunc(days), hours: Math.trunc(ms / 3600000), minutes: Math.trunc((ms / 60000) % 60), seconds: Math.trunc((ms / 1000) % 60), milliseconds: Math.round(ms % 1000) }
  }
  asMilliseconds() {
    const { months: count, days: dayCount, ms } = this.parts
    return ms + dayCount * length.day + (count % 12) * 2592000000 + Math.trunc(count / 12) * 31536000000
  }
  valueOf() {
    return this.asMilliseconds()
  }
  as(unit) {
    const name = unitOf(unit)
    const { months: count, days: dayCount, ms } = this.parts
    if (['month', 'quarter', 'year'].includes(name)) return (count + (dayCount + ms / length.day) / monthDays) / { month: 1, quarter: 3, year: 12 }[name]
    return ((dayCount + Math.round(count * monthDays)) * length.day + ms) / length[name]
  }
  get(unit) {
    return this[`${unitOf(unit)}s`]()
  }
  weeks() {
    return Math.trunc(this.shown.days / 7)
  }
  add(amount, unit) {
    const more = duration(amount, unit)
    return Object.assign(this, combine(this, more, 1))
  }
  subtract(amount, unit) {
    return Object.assign(this, combine(this, duration(amount, unit), -1))
  }
  abs() {
    return combine(new Duration({}), this, this.valueOf() < 0 ? -1 : 1)
  }
  clone() {
    return combine(this, new Duration({}), 1)
  }
  isValid() {
    return !isNaN(this.valueOf())
  }
  toISOString() {
    const { months: all, days: dayCount, ms } = this.parts
    const [years, count] = [Math.trunc(all / 12), all % 12]
    const [hours, minutes, seconds] = [Math.trunc(ms / 3600000), Math.trunc((ms / 60000) % 60), (ms / 1000) % 60]
    const total = this.valueOf() < 0 ? -1 : 1
    const part = (value, letter) => (value ? value * total + letter : '')
    const time = part(hours, 'H') + part(minutes, 'M') + part(Number(seconds.toFixed(3)), 'S')
    const date = part(years, 'Y') + part(count, 'M') + part(dayCount, 'D')
    return date || time ? `${total < 0 ? '-' : ''}P${date}${time && 'T' + time}` : 'P0D'
  }
  toJSON() {
    return this.toISOString()
  }
  toString() {
    return this.toISOString()
  }
  humanize(withSuffix) {
    const size = new Duration({ millisecond: Math.abs(this.asMilliseconds()) })
    const count = unit => Math.round(size.as(unit))
    const named = (unit, one) => (count(unit) === 1 ? one : `${count(unit)} ${unit}`)
    const text =
      count('seconds') < 45 ? 'a few seconds'
      : count('minutes') < 45 ? (count('minutes') <= 1 ? 'a minute' : named('minutes', 'a minute'))
      : count('hours') < 22 ? (count('hours') <= 1 ? 'an hour' : named('hours', 'an hour'))
      : count('days') < 26 ? (count('days') <= 1 ? 'a day' : named('days', 'a day'))
      : count('months') < 11 ? (count('months') <= 1 ? 'a month' : named('months', 'a month'))
      : count('years') <= 1 ? 'a year' : named('years', 'a year')
    if (!withSuffix) return text
    return this.valueOf() > 0 ? `in ${text}` : `${text} ago`
  }
}
for (const unit of ['years', 'months', 'days', 'hours', 'minutes', 'seconds', 'milliseconds']) {
  Duration.prototype[unit] = function () {
    return this.shown[unit]
  }
}
for (const unit of ['Years', 'Months', 'Weeks', 'Days', 'Hours', 'Minutes', 'Seconds']) {
  Duration.prototype[`as${unit}`] = function () {
    return this.as(unit.toLowerCase())
  }
}
const combine = (a, b, sign) => new Duration({ month: a.parts.months + sign * b.parts.months, day: a.parts.days + sign * b.parts.days, millisecond: a.parts.ms + sign * b.parts.ms })
const duration = (amount, unit) => {
  if (amount instanceof Duration) return amount.clone()
  if (typeof amount === 'string' && isNaN(amount)) {
    const found = isoDuration.exec(amount)
    if (found) {
      const sign = found[1] === '-' ? -1 : 1
      const [years, monthCount, weeks, dayCount, hours, minutes, seconds] = found.slice(2).map(part => sign * Number(part || 0))
      return new Duration({ year: years, month: monthCount, week: weeks, day: dayCount, hour: hours, minute: minutes, second: seconds })
    }
    const clock = clockDuration.exec(amount)
    if (!clock) return new Duration({})
    const sign = clock[1] === '-' ? -1 : 1
    const [dayCount, hours, minutes, seconds] = clock.slice(2, 6).map(part => sign * Number(part || 0))
    return new Duration({ day: dayCount, hour: hours, minute: minutes, second: seconds, millisecond: sign * Math.round(Number(`0.${clock[6] || 0}`) * 1000) })
  }
  if (amount !== null && typeof amount === 'object') {
    const given = {}
    for (const key of Object.keys(amount)) given[unitOf(key)] = amount[key]
    return new Duration(given)
  }
  // The old order of arguments, (unit, amount), still works.
  if (typeof amount === 'string' && unitOf(amount)) [amount, unit] = [unit, amount]
  const name = unitOf(unit) || 'millisecond'
  const whole = ['month', 'quarter', 'year', 'day', 'date', 'week', 'isoWeek'].includes(name)
  const count = Number(amount) || 0
  if (name === 'day' || name === 'week' || name === 'date') return new Duration({ [name]: Math.round(count * (name === 'week' ? 7 : 1)) / (name === 'week' ? 7 : 1) })
  return new Duration({ [name]: whole ? Math.round(count * { quarter: 3, year: 12 }[name] || count) / ({ quarter: 3, year: 12 }[name] || 1) : count })
}

// ---- the entry ----

const strictOf = (second, third) => second === true || third === true
const formatOf = format => (typeof format === 'boolean' ? undefined : format)
const moment = (input, format, locale, strict) => {
  const made = new Moment(read(input, formatOf(format), strictOf(locale, strict), false))
  if (input instanceof Moment) made.fixed = input.fixed
  return made
}
const ISO_8601 = { iso: true }
module.exports = Object.assign(moment, {
  utc: (input, format, locale, strict) => new Moment(read(input, formatOf(format), strictOf(locale, strict), true), 0),
  unix: seconds => new Moment(seconds * 1000),
  parseZone: text => {
    const made = moment(text)
    const found = /(Z|[+-]\d\d:?\d\d)\s*$/i.exec(String(text))
    return made.utcOffset(found ? zone(found[1]) : 0)
  },
  duration,
  isMoment: value => value instanceof Moment,
  isDuration: value => value instanceof Duration,
  isDate: value => value instanceof Date,
  now: () => Date.now(),
  invalid: () => new Moment(NaN),
  min: (...list) => list.flat().reduce((a, b) => (b.isBefore(a) ? b : a)),
  max: (...list) => list.flat().reduce((a, b) => (b.isAfter(a) ? b : a)),
  locale: () => 'en',
  locales: () => ['en'],
  months: () => [...months],
  monthsShort: () => short(months),
  weekdays: () => [...days],
  weekdaysShort: () => short(days),
  weekdaysMin: () => days.map(name => name.slice(0, 2)),
  normalizeUnits: unit => unitOf(unit),
  ISO_8601,
  fn: Moment.prototype,
  version: '2.24.0'
})
moment.default = moment
moment.HTML5_FMT = { DATETIME_LOCAL: 'YYYY-MM-DDTHH:mm', DATE: 'YYYY-MM-DD', TIME: 'HH:mm', MONTH: 'YYYY-MM', WEEK: 'GGGG-[W]WW' }
