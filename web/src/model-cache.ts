/**
 * Model files in the origin's private file system, so that a model is downloaded once.
 *
 * ```text
 * glasshouse-models/
 *   model-RANDOM.gguf      the bytes, written while they arrive
 *   SHA256-OF-URL.json     an Entry: what makes the bytes complete; written after the engine accepted them
 * ```
 *
 * A download that ends early leaves bytes without an entry, which count as nothing and are removed by the next one.
 * An entry whose bytes are missing, of another size, or of another hash counts as nothing as well.
 *
 * @module
 */

import { domExceptionName } from "./errors.js";
import { privateFileSystem } from "./features.js";

const FOLDER = "glasshouse-models";

/** What is known of a complete file. */
export interface Entry {
  readonly url: string;
  readonly bytes: number;
  /** As the engine computed it when it accepted the file. */
  readonly hash: string;
  /** What the server called this version of the file; empty if it said nothing. */
  readonly version: string;
  /** Name of the file that holds the bytes. */
  readonly data: string;
}

/** Why a file is not kept, for people. */
export const CACHE_PROBLEMS = {
  unavailable: "This window keeps no files, so the model is downloaded again next time.",
  full: "There is no room to keep the model in this browser, so it is downloaded again next time.",
  failed: "The model could not be kept in this browser, so it is downloaded again next time.",
} as const;

/** The folder of kept model files. */
export class ModelCache {
  readonly #folder: FileSystemDirectoryHandle;

  private constructor(folder: FileSystemDirectoryHandle) {
    this.#folder = folder;
  }

  /** Opens the cache; `undefined` where the browser keeps no files. */
  static async open(): Promise<ModelCache | undefined> {
    try {
      const root = await privateFileSystem();
      return root && new ModelCache(await root.getDirectoryHandle(FOLDER, { create: true }));
    } catch {
      return undefined;
    }
  }

  /** The complete file of this address, if there is one of the right size. */
  async find(url: string): Promise<Entry | undefined> {
    const entry = await this.#entry(await entryName(url));
    if (entry?.url !== url) return undefined;
    try {
      const file = await (await this.#folder.getFileHandle(entry.data)).getFile();
      return file.size === entry.bytes ? entry : undefined;
    } catch {
      return undefined;
    }
  }

  /** Opens the bytes of a complete file for reading. */
  async read(entry: Entry): Promise<StoredFile> {
    const handle = await this.#folder.getFileHandle(entry.data);
    try {
      // Several tabs may read at once where the browser knows this mode; others ignore the option.
      const open = handle.createSyncAccessHandle as (options: object) => Promise<FileSystemSyncAccessHandle>;
      return new StoredFile(await open.call(handle, { mode: "read-only" }), undefined);
    } catch {
      return new StoredFile(undefined, await handle.getFile());
    }
  }

  /** Opens a new file for a download, after removing what earlier ones left behind. */
  async create(): Promise<IncompleteFile> {
    await this.#removeLeftovers();
    const name = `model-${crypto.randomUUID()}.gguf`;
    const handle = await this.#folder.getFileHandle(name, { create: true });
    return new IncompleteFile(this.#folder, name, await handle.createSyncAccessHandle());
  }

  /** Makes a closed file complete, in place of an older one of the same address. */
  async complete(entry: Entry): Promise<void> {
    const name = await entryName(entry.url);
    const former = await this.#entry(name);
    const handle = await this.#folder.getFileHandle(name, { create: true });
    const access = await handle.createSyncAccessHandle();
    try {
      const bytes = new TextEncoder().encode(JSON.stringify(entry));
      access.truncate(0);
      if (access.write(bytes, { at: 0 }) !== bytes.length) {
        throw new DOMException("the entry was not written", "QuotaExceededError");
      }
      access.flush();
    } finally {
      access.close();
    }
    if (former && former.data !== entry.data) await this.#remove(former.data);
  }

  /** Forgets a file. */
  async forget(entry: Entry): Promise<void> {
    await this.#remove(await entryName(entry.url));
    await this.#remove(entry.data);
  }

  async #entry(name: string): Promise<Entry | undefined> {
    try {
      const text = await (await (await this.#folder.getFileHandle(name)).getFile()).text();
      const entry = JSON.parse(text) as Partial<Entry> | null;
      const whole =
        typeof entry?.url === "string" &&
        typeof entry.bytes === "number" &&
        typeof entry.hash === "string" &&
        typeof entry.version === "string" &&
        typeof entry.data === "string";
      return whole ? (entry as Entry) : undefined;
    } catch {
      return undefined;
    }
  }

  async #removeLeftovers(): Promise<void> {
    const names: string[] = [];
    for await (const name of this.#folder.keys()) names.push(name);
    const entries = await Promise.all(
      names.filter((name) => name.endsWith(".json")).map((name) => this.#entry(name)),
    );
    const needed = new Set(entries.map((entry) => entry?.data));
    // What another tab is writing is locked, and stays.
    await Promise.all(
      names.filter((name) => name.endsWith(".gguf") && !needed.has(name)).map((name) => this.#remove(name)),
    );
  }

  async #remove(name: string): Promise<void> {
    try {
      await this.#folder.removeEntry(name);
    } catch {
      // Gone already, or in use: nothing that is not complete is ever read, so it may stay.
    }
  }
}

/** A complete file, open for reading: through a synchronous handle, or as a `File` when another tab has that. */
export class StoredFile {
  readonly #access: FileSystemSyncAccessHandle | undefined;
  readonly #file: File | undefined;

  constructor(access: FileSystemSyncAccessHandle | undefined, file: File | undefined) {
    this.#access = access;
    this.#file = file;
  }

  /** Fills `into` from byte `at` on; whether all of it was there. */
  async readInto(into: Uint8Array<ArrayBuffer>, at: number): Promise<boolean> {
    if (this.#access) return this.#access.read(into, { at }) === into.length;
    if (!this.#file) return false;
    return copyFromFile(this.#file, into, at);
  }

  close(): void {
    this.#access?.close();
  }
}

/** Fills `into` from a file's byte `at` on; whether all of it was there. */
export async function copyFromFile(file: Blob, into: Uint8Array, at: number): Promise<boolean> {
  const bytes = new Uint8Array(await file.slice(at, at + into.length).arrayBuffer());
  if (bytes.length !== into.length) return false;
  into.set(bytes);
  return true;
}

/** A file that is being downloaded. Its first failure ends the keeping, never the download. */
export class IncompleteFile {
  readonly #folder: FileSystemDirectoryHandle;
  #access: FileSystemSyncAccessHandle | undefined;
  readonly name: string;
  /** Why it is not kept; a sentence. */
  problem: string | undefined;

  constructor(folder: FileSystemDirectoryHandle, name: string, access: FileSystemSyncAccessHandle) {
    this.#folder = folder;
    this.#access = access;
    this.name = name;
  }

  /** Writes a piece, unless an earlier one failed. */
  async write(bytes: Uint8Array<ArrayBuffer>, at: number): Promise<void> {
    if (!this.#access) return;
    try {
      if (this.#access.write(bytes, { at }) === bytes.length) return;
      await this.discard(CACHE_PROBLEMS.full);
    } catch (error) {
      await this.discard(problemOf(error));
    }
  }

  /** Ends the writing; whether all of it is stored. */
  async close(): Promise<boolean> {
    if (!this.#access) return false;
    try {
      this.#access.flush();
      this.#access.close();
      this.#access = undefined;
      return true;
    } catch (error) {
      await this.discard(problemOf(error));
      return false;
    }
  }

  /** Removes what was written. */
  async discard(problem?: string): Promise<void> {
    this.problem ??= problem;
    this.#access?.close();
    this.#access = undefined;
    try {
      await this.#folder.removeEntry(this.name);
    } catch {
      // The next download removes it.
    }
  }
}

/** The sentence for a failed write. */
export function problemOf(error: unknown): string {
  return domExceptionName(error) === "QuotaExceededError" ? CACHE_PROBLEMS.full : CACHE_PROBLEMS.failed;
}

async function entryName(url: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(url)));
  return `${Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("")}.json`;
}
