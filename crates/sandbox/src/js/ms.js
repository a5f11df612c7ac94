// Milliseconds from texts like "2 days", and back.
const units = [
  [31557600000, 'y', /^(years?|yrs?|y)$/],
  [604800000, 'w', /^(weeks?|w)$/],
  [86400000, 'd', /^(days?|d)$/, 'day'],
  [3600000, 'h', /^(hours?|hrs?|h)$/, 'hour'],
  [60000, 'm', /^(minutes?|mins?|m)$/, 'minute'],
  [1000, 's', /^(seconds?|secs?|s)$/, 'second'],
  [1, 'ms', /^(milliseconds?|msecs?|ms)?$/, 'ms']
]
const parse = text => {
  const found = text.length <= 100 && /^\s*(-?(?:\d+)?\.?\d+)\s*([a-z]*)\s*$/i.exec(text)
  if (!found) return undefined
  const unit = units.find(([, , names]) => names.test(found[2].toLowerCase()))
  return unit ? parseFloat(found[1]) * unit[0] : undefined
}
const format = (value, long) => {
  for (const [size, short, , name] of units.slice(2, 6)) {
    if (Math.abs(value) < size) continue
    const count = Math.round(value / size)
    return long ? `${count} ${name}${Math.abs(value) >= size * 1.5 ? 's' : ''}` : `${count}${short}`
  }
  return long ? `${value} ms` : `${value}ms`
}
module.exports = (value, options) => {
  if (typeof value === 'string' && value) return parse(value)
  if (typeof value === 'number' && isFinite(value)) return format(value, options && options.long)
  throw new Error(`val is not a non-empty string or a valid number. val=${JSON.stringify(value)}`)
}
