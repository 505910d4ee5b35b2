/** Small helpers to build the page. Text goes in as text nodes only, never as markup. */

export const $ = (id) => document.getElementById(id);

/** An element: `el('p', { className: 'fine' }, 'text', otherElement)`. */
export function el(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

/** Sets the text, but only where it changed, so that screen readers don't hear it twice. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Says it to screen readers. */
export function announce(text) {
  $('announcer').textContent = text;
}

const JSON_TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** A value as indented JSON with its parts in different colours; a text as it is. */
export function pretty(value) {
  const code = typeof value === 'string' ? el('code', {}, value) : colouredJson(value);
  return el('pre', { tabIndex: 0, role: 'group', ariaLabel: 'Answer' }, code);
}

function colouredJson(value) {
  const source = JSON.stringify(value, null, 2);
  const code = el('code');
  let end = 0;
  for (const match of source.matchAll(JSON_TOKEN)) {
    const [token, string, colon = ''] = match;
    const kind = string ? (colon ? 'key' : 'string') : 'literal';
    const word = string ?? token;
    code.append(source.slice(end, match.index), el('span', { className: `json-${kind}` }, word), colon);
    end = match.index + token.length;
  }
  code.append(source.slice(end));
  return code;
}

/** `3:07` below an hour, `11 h 59 min` above. */
export function duration(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole < 3600) return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
