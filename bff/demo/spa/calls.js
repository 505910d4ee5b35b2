/** The cards: one API endpoint each, a button to call it, and its answer in a readable form. */

import { BffError, fetch } from '/bff/client.js';

import { $, announce, el, pretty } from './dom.js';
import { tellCall } from './story.js';

const ENDPOINTS = [
  { name: 'public', path: '/api/public', open: true },
  { name: 'me', path: '/api/me' },
  { name: 'orders', path: '/api/orders', needs: 'scope', value: 'orders:read' },
  { name: 'admin', path: '/api/admin/stats', needs: 'role', value: 'admin' },
];

const EXPLAINED = {
  400: ['This request was refused', 'Something about it is not as it should be.'],
  401: ['Sign in first', 'This endpoint only answers when it knows who is asking.'],
  403: ['You may not see this', 'It needs a right that you don’t have.'],
  404: ['There is nothing here', 'The API knows no such address.'],
  429: ['Too many requests', 'Wait a little, then call again.'],
  502: ['The API is not there', 'The service could not reach it. Nothing is wrong with your session.'],
  503: ['Not available right now', 'The service lacks something it needs. Nobody is signed out by that.'],
  504: ['The API is too slow', 'It did not answer in time. Nothing is wrong with your session.'],
};

/** Builds the cards; `onAnswer(status)` is called after each answer. */
export function showCalls(onAnswer) {
  for (const endpoint of ENDPOINTS) $('calls').append(card(endpoint, onAnswer));
}

/** Takes away what a user who is gone had called; refusals may stay. */
export function clearAnswers() {
  for (const answer of document.querySelectorAll('.answer')) {
    if (answer.dataset.status === '401') continue;
    delete answer.dataset.status;
    answer.hidden = true;
    answer.replaceChildren();
    answer.parentElement.querySelector('button').textContent = 'Call';
  }
}

function card(endpoint, onAnswer) {
  const fragment = $('call-card').content.cloneNode(true);
  const heading = fragment.querySelector('h3');
  const button = fragment.querySelector('button');
  const answer = fragment.querySelector('.answer');
  heading.id = `endpoint-${endpoint.name}`;
  heading.append(el('span', { className: 'method' }, 'GET'), ' ', el('code', {}, endpoint.path));
  fragment.querySelector('article').setAttribute('aria-labelledby', heading.id);
  fragment.querySelector('.needs').append(...need(endpoint));
  button.dataset.testid = `call-${endpoint.name}`;
  button.setAttribute('aria-describedby', heading.id);
  answer.dataset.testid = `result-${endpoint.name}`;
  button.addEventListener('click', () => call(endpoint, button, answer, onAnswer));
  return fragment;
}

function need({ open, needs, value }) {
  if (open) return ['open to everyone'];
  return value ? [`needs ${needs} `, el('code', { className: 'right' }, value)] : ['needs a login'];
}

async function call(endpoint, button, answer, onAnswer) {
  if (answer.ariaBusy === 'true') return;
  answer.ariaBusy = 'true';
  delete answer.dataset.status;
  button.textContent = 'Calling';
  const started = performance.now();
  let seen;
  try {
    const response = await fetch(endpoint.path, { headers: { Accept: 'application/json' } });
    const error = response.ok ? null : await BffError.from(response);
    const body = await read(response);
    seen = { status: response.status, error, body, took: performance.now() - started };
  } catch {
    seen = { status: 0, error: new BffError(0), body: null, took: performance.now() - started };
  }
  answer.replaceChildren(...(seen.error ? failure(seen) : success(seen)));
  answer.hidden = false;
  answer.dataset.status = String(seen.status);
  answer.ariaBusy = 'false';
  button.textContent = 'Call again';
  announce(`GET ${endpoint.path}: ${title(seen)}, ${seen.status || 'no answer'}`);
  tellCall(endpoint, seen);
  onAnswer(seen.status);
}

/** JSON where it is JSON, else the text. */
async function read(response) {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function success(seen) {
  return [facts(seen), pretty(seen.body)];
}

function failure(seen) {
  const parts = [facts(seen), el('p', { className: 'fault' }, el('b', {}, title(seen)), ' ', advice(seen))];
  const { error, body } = seen;
  if (error.code !== 'unknown') {
    const code = ['Code ', el('code', {}, error.code)];
    const request = error.requestId ? [', request ', el('code', {}, error.requestId)] : [];
    parts.push(el('p', { className: 'fine' }, ...code, ...request));
  }
  if (body) {
    parts.push(el('details', {}, el('summary', {}, 'The answer as it came'), pretty(body)));
  }
  return parts;
}

function facts({ status, took }) {
  const kind = status >= 200 && status < 300 ? 'good' : 'poor';
  return el(
    'p',
    { className: 'facts' },
    el('span', { className: `status ${kind}` }, status ? String(status) : 'No answer'),
    el('span', { className: 'took' }, `${took < 10 ? took.toFixed(1) : Math.round(took)} ms`),
  );
}

function title({ status, error }) {
  if (!error) return 'success';
  if (status === 0) return 'The service does not answer';
  return EXPLAINED[status]?.[0] ?? String(error.problem.title ?? 'That did not work');
}

function advice({ status, error }) {
  if (status === 0) return 'Is it still running? Call again when it is.';
  const said = String(error.problem.detail ?? EXPLAINED[status]?.[1] ?? '');
  return status === 403 && error.code !== 'csrf' ? `${said} Sign in as somebody who has it.` : said;
}
