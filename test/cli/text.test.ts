import { describe, expect, test } from 'vitest'
import { styleFor, wantsColour } from '../../src/cli/style.ts'
import { renderTable } from '../../src/cli/table.ts'
import { formatBytes, formatDuration, formatRate, groupDigits, plural } from '../../src/cli/words.ts'

test.each([
  [0.2, '0 ms'],
  [340, '340 ms'],
  [999.4, '999 ms'],
  [999.9, '1.0 s'],
  [2_440, '2.4 s'],
  [9_960, '10 s'],
  [59_499, '59 s'],
  [59_999, '1 min'],
  [185_000, '3 min 5 s'],
  [7_800_000, '2 h 10 min'],
  [93_600_000, '1 d 2 h'],
])('%d ms are %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text)
})

test('numbers, rates and sizes are short and readable', () => {
  expect([0, 999, 1_000, 50_847_534].map(groupDigits)).toEqual(['0', '999', '1,000', '50,847,534'])
  expect([0.25, 9.96, 42.4, 1_234_567].map(formatRate)).toEqual(['0.3/s', '10.0/s', '42/s', '1,234,567/s'])
  expect([512, 17_400_000, 999_999, 250_000_000].map(formatBytes)).toEqual(['512 B', '17.4 MB', '1.0 MB', '250 MB'])
  expect([0, 1, 1_000].map(count => plural(count, 'task'))).toEqual(['0 tasks', '1 task', '1,000 tasks'])
})

test('columns of a table line up, whatever the colour of a cell', () => {
  const { bold } = styleFor({ isTTY: true }, {})
  const table = renderTable(
    [{ title: 'job' }, { title: 'n', align: 'right' }],
    [
      ['π', bold('7')],
      ['words', '12'],
    ],
  )
  expect(table).toBe(`job     n\nπ       ${bold('7')}\nwords  12`)
})

describe('colours', () => {
  test.each<[stream: string, isTTY: boolean, env: Record<string, string>, wanted: boolean]>([
    ['a terminal', true, {}, true],
    ['a pipe', false, {}, false],
    ['a dumb terminal', true, { TERM: 'dumb' }, false],
    ['a terminal with NO_COLOR', true, { NO_COLOR: '1' }, false],
    ['a terminal with an empty NO_COLOR', true, { NO_COLOR: '' }, true],
    ['a pipe with FORCE_COLOR', false, { FORCE_COLOR: '1' }, true],
    ['a terminal with FORCE_COLOR=0', true, { FORCE_COLOR: '0' }, false],
    ['a pipe with both', false, { FORCE_COLOR: '1', NO_COLOR: '1' }, true],
  ])('on %s', (_stream, isTTY, env, wanted) => {
    expect(wantsColour({ isTTY }, env)).toBe(wanted)
    expect(styleFor({ isTTY }, env).red('x') === 'x').toBe(!wanted)
  })
})
