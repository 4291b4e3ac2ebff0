/**
 * Small helpers for building the page. All text is set as text: nothing that a model, a tool or a file says is markup.
 *
 * @module
 */

/** The element of the page with this id. */
export function byId<E extends HTMLElement>(id: string, type: new () => E): E {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} called ${id}`);
  return found;
}

/** A new element with a class, and a text or children. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  content: string | readonly Node[] = [],
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (typeof content === "string") element.textContent = content;
  else element.append(...content);
  return element;
}

/** A new button. */
export function makeButton(className: string, label: string, onClick: () => void): HTMLButtonElement {
  const button = make("button", className, label);
  button.type = "button";
  button.addEventListener("click", onClick);
  return button;
}

/** A message as a sentence: errors of programs begin small and end without a full stop. */
export function sentence(message: string): string {
  const text = message.trim();
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

/** A number of bytes for people. */
export function formatBytes(bytes: number): string {
  if (bytes < 1e3) return `${bytes} B`;
  const [unit, divisor] = bytes < 1e6 ? ["kB", 1e3] : bytes < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  return `${(bytes / divisor).toFixed(bytes / divisor < 10 ? 2 : 1)} ${unit}`;
}

/** Offers bytes as a file to save. */
export function save(bytes: Uint8Array<ArrayBuffer>, name: string): void {
  const url = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  const link = make("a", "");
  link.href = url;
  link.download = name;
  link.click();
  // The browser reads the bytes after the click; a minute later it has, and they need not stay in memory.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
