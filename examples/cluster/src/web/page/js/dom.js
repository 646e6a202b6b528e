// Elements of the page.

export const $ = (id) => document.getElementById(id);

/** Creates an element. Texts are text, never HTML. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

export function svg(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of an element show the items, in their order. An item that shows the same as
 * before keeps its element, and with it the focus.
 */
export function sync(parent, items, key, content, create) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    const text = content(item);
    let child = old.get(name);
    old.delete(name);
    if (!child || child.dataset.content !== text) {
      const fresh = create(item);
      fresh.dataset.key = name;
      fresh.dataset.content = text;
      if (child) {
        const focus = child.contains(document.activeElement) && document.activeElement.dataset.focus;
        if (child.open) fresh.open = true;
        if (place === child) place = fresh;
        child.replaceWith(fresh);
        if (focus) fresh.querySelector(`[data-focus="${focus}"]`)?.focus();
      }
      child = fresh;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of old.values()) {
    const hadFocus = child.contains(document.activeElement);
    const neighbour = child.nextElementSibling ?? child.previousElementSibling;
    child.remove();
    if (hadFocus) (neighbour?.querySelector("button, summary") ?? $("task-managers")).focus();
  }
}

let toastTimer = 0;
export function toast(text) {
  setText($("toast"), text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => setText($("toast"), ""), 6_000);
}
