#!/usr/bin/env node
/**
 * Everything green or not: format, lint, types, the published package, and all tests. Shows what a failing gate printed
 * and ends with the line `N passed, N failed`, in which every gate counts as one beside the tests.
 *
 * With arguments only the tests whose path holds one of them: `npm test -- worker`.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const bin = name => join('node_modules', '.bin', name)
const filters = process.argv.slice(2)

const gates = [
  { name: 'format', command: bin('prettier'), args: ['--check', '--log-level=warn', '.'] },
  { name: 'lint', command: bin('eslint'), args: ['--max-warnings=0', '.'] },
  { name: 'types', command: bin('tsc'), args: ['--noEmit', '-p', 'tsconfig.json'] },
  { name: 'package', command: process.execPath, args: ['scripts/check-package.mjs'] },
]

const total = { passed: 0, failed: 0 }

if (await passes({ name: 'bootstrap', command: process.execPath, args: ['scripts/bootstrap.mjs'], live: true })) {
  // The gates before the tests, which are about timing and should have the machine to themselves.
  if (filters.length === 0) for (const passed of await Promise.all(gates.map(passes))) count(passed)
  await runTests()
} else {
  count(false)
}
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed > 0 ? 1 : 0

function count(passed) {
  total[passed ? 'passed' : 'failed']++
}

/** Runs one gate; its output is shown if it fails, or at once if it is `live`. */
async function passes({ name, command, args, live = false }) {
  const started = performance.now()
  const { code, output } = await run(command, args, live ? 'inherit' : 'pipe')
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  if (code !== 0) console.log(`FAILED ${name} (${seconds} s)\n${output}`)
  else if (!live) console.log(`passed ${name} (${seconds} s)`)
  return code === 0
}

async function runTests() {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-test-'))
  const reportPath = join(folder, 'report.json')
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportPath}`]
    const { code } = await run(bin('vitest'), ['run', '--allowOnly=false', ...reporters, ...filters], 'inherit')
    countTests(reportPath, code)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function countTests(reportPath, code) {
  let report
  try {
    report = JSON.parse(readFileSync(reportPath, 'utf8'))
  } catch {
    console.log('FAILED tests: vitest left no report')
    return count(false)
  }
  // A file that could not be loaded has no tests, yet is a failure.
  const broken = report.testResults.filter(file => file.status === 'failed' && file.assertionResults.length === 0)
  const failed = report.numFailedTests + broken.length
  total.passed += report.numPassedTests
  total.failed += failed
  const skipped = report.numPendingTests + report.numTodoTests
  if (skipped > 0) console.log(`${skipped} tests were skipped`)
  if (code !== 0 && failed === 0) {
    console.log('FAILED tests: each passed, yet vitest reports an error outside of them (see above)')
    count(false)
  }
}

function run(command, args, output) {
  return new Promise(resolve => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', output, output] })
    const chunks = []
    child.stdout?.on('data', chunk => chunks.push(chunk))
    child.stderr?.on('data', chunk => chunks.push(chunk))
    child.once('error', error => resolve({ code: error.message, output: '' }))
    child.once('close', (code, signal) => resolve({ code: code ?? signal, output: Buffer.concat(chunks).toString() }))
  })
}
