import { createServer, type Server, type Socket } from 'node:net'
import { encodeLine, parseClaim, readLines, type Claim, type SupervisorReport } from './control.ts'

/** How long a supervisor that nobody has claimed yet waits for the first claim. */
const FIRST_CLAIM_MS = 5_000
const GOODBYE_MS = 1_000

/**
 * The supervisor's side of its control socket. An open connection that has sent a claim is a client who needs Redis: when its
 * process dies, even by `kill -9`, the kernel closes the connection.
 */
export class ControlServer {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #claims = new Map<Socket, Claim>()
  readonly #beforeReady: (claim: Claim) => Promise<void>
  readonly #onIdle: () => void
  #report: SupervisorReport = { state: 'candidate' }
  #idleTimer: NodeJS.Timeout | undefined
  #wasClaimed = false

  /** `beforeReady` runs for each claim before its client is told anything more; `onIdle` when nobody has needed Redis for a linger. */
  constructor(handlers: { beforeReady: (claim: Claim) => Promise<void>; onIdle: () => void }) {
    this.#beforeReady = handlers.beforeReady
    this.#onIdle = handlers.onIdle
    this.#server = createServer(socket => {
      this.#accept(socket)
    })
  }

  /** Listens, as a candidate. */
  async listen(path: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(path, resolve)
    })
    this.#waitForClaims(FIRST_CLAIM_MS)
  }

  /** Whether any client ever claimed. */
  get wasClaimed(): boolean {
    return this.#wasClaimed
  }

  /** Tells how things are to everyone who is connected, and to everyone who comes. */
  tell(report: SupervisorReport): void {
    this.#report = report
    for (const socket of this.#sockets) socket.write(encodeLine(report))
  }

  /** Ends every connection, after what was written to it, and listens no more. */
  async close(): Promise<void> {
    clearTimeout(this.#idleTimer)
    const closed = new Promise<void>(resolve => {
      this.#server.close(() => {
        resolve()
      })
    })
    for (const socket of this.#sockets) socket.end()
    const force = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy()
    }, GOODBYE_MS)
    await closed
    clearTimeout(force)
  }

  #accept(socket: Socket): void {
    // A failure is told to those who were there, or to the first who comes; whoever comes later may have mended its cause.
    if (this.#report.state === 'failed' && this.#wasClaimed) {
      socket.destroy()
      return
    }
    this.#sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      this.#sockets.delete(socket)
      this.#release(socket)
    })
    readLines(socket, line => {
      this.#claim(socket, line).catch(() => socket.destroy())
    })
    socket.write(encodeLine(this.#report))
  }

  async #claim(socket: Socket, line: string): Promise<void> {
    const claim = parseClaim(line)
    if (claim === undefined) return
    clearTimeout(this.#idleTimer)
    this.#claims.set(socket, claim)
    this.#wasClaimed = true
    await this.#beforeReady(claim)
    if (socket.writable) socket.write(encodeLine({ state: 'counted' }) + encodeLine(this.#report))
  }

  #release(socket: Socket): void {
    const claim = this.#claims.get(socket)
    if (claim === undefined) return
    this.#claims.delete(socket)
    if (this.#claims.size === 0) this.#waitForClaims(claim.lingerMs)
  }

  #waitForClaims(lingerMs: number): void {
    clearTimeout(this.#idleTimer)
    this.#idleTimer = setTimeout(this.#onIdle, lingerMs)
  }
}
