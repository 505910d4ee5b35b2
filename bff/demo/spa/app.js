/**
 * The demo page: who is signed in, for how much longer, and what the API says.
 *
 * One of these states at a time, as `data-state` of the body: `loading`, `signed-in`, `signed-out`,
 * `leaving` (on the way to sign in or out), `unavailable` (the first answer is still missing).
 * Trouble while signed in changes no state: a service that can't tell is no sign-out.
 */

import { login, logout, onUnauthenticated, session } from '/bff/client.js';

import { clearAnswers, showCalls } from './calls.js';
import { $, announce, duration, el, setText } from './dom.js';
import { showReadable, tellEnded, tellState } from './story.js';

const POLL = 4_000; // milliseconds between questions while the page is visible
const ALMOST_OVER = 60; // seconds

let known = null; // the last answer of somebody signed in, and when it came
let idleTimeout = 0; // seconds; the service doesn't say, so the most that was seen
let asked = 0; // numbers the questions,
let heard = 0; // so that an answer that comes after a newer one is dropped
let warned = false;

function setState(state) {
  document.body.dataset.state = state;
  const focused = document.activeElement;
  const hide = (id, hidden) => ($(id).hidden = hidden);
  hide('sign-in', state !== 'signed-out');
  hide('sign-out', state !== 'signed-in');
  hide('retry', state !== 'unavailable');
  hide('countdown', state !== 'signed-in');
  hide('avatar', state === 'signed-out' || state === 'unavailable');
  if (state !== 'signed-in') {
    hide('roles', true);
    setText($('avatar'), '');
    $('hero-title').removeAttribute('data-testid');
  }
  if (focused?.closest('[hidden]')) $('hero-title').focus();
}

function say(kicker, title, lead) {
  setText($('hero-kicker'), kicker);
  setText($('hero-title'), title);
  setText($('hero-lead'), lead);
}

/** Asks the service and shows what it says; true if it could say. */
async function check(slide = false) {
  if (document.body.dataset.state === 'leaving') return false;
  const number = ++asked;
  const answer = await session({ slide }).catch((error) => error);
  if (number < heard) return false;
  heard = number;
  const told = !(answer instanceof Error);
  if (!told) showTrouble(answer);
  else if (answer.authenticated) showSignedIn(answer);
  else showSignedOut();
  if (told) $('trouble').hidden = true;
  showReadable();
  return told;
}

function showSignedIn(answer) {
  const { user } = answer;
  const before = known?.answer;
  known = { answer, at: performance.now() };
  idleTimeout = Math.max(idleTimeout, answer.session.idle_expires_in);
  const same = before?.session.id === answer.session.id;
  if (same && document.body.dataset.state === 'signed-in') return tick();

  if (before && before.user.sub !== user.sub) clearAnswers();
  if (!same) {
    idleTimeout = answer.session.idle_expires_in;
    tellState(true);
  }
  showUser(user);
  announce(`Signed in as ${nameOf(user)}`);
}

function showUser(user) {
  $('signed-out-notice').hidden = true;
  setState('signed-in');
  const name = nameOf(user);
  say('Signed in as', name, user.email ?? user.sub);
  $('hero-title').dataset.testid = 'user-name';
  setText($('avatar'), initials(name));
  const roles = [user.roles ?? []].flat().map(String);
  $('roles').hidden = roles.length === 0;
  $('roles').replaceChildren(...roles.map((role) => el('li', {}, role)));
  tick();
}

function showSignedOut() {
  const ended = known !== null;
  if (ended) {
    showNotice(known.answer.user);
    clearAnswers();
  }
  known = null;
  if (document.body.dataset.state === 'signed-out') return;
  setState('signed-out');
  announce('');
  say(
    'Nobody is signed in',
    'Sign in to call the API as yourself',
    'The service signs you in for this page and keeps the tokens. ' +
      'The browser gets a cookie that no script can read.',
  );
  if (ended) tellEnded();
  else tellState(false);
}

function showNotice(user) {
  const { idle, end } = left();
  const reason =
    end <= 1
      ? 'The session had reached its longest time.'
      : idle <= 1
        ? 'The session was idle for too long.'
        : 'The session was ended somewhere else: in another window, at the provider, or by an administrator.';
  $('signed-out-notice').replaceChildren(
    el('p', {}, el('b', {}, `You have been signed out, ${nameOf(user)}.`), ' ', reason),
  );
  $('signed-out-notice').hidden = false;
}

function showTrouble(error, first = '') {
  const what =
    error.status === 503
      ? 'The service can’t reach its store'
      : error.status
        ? `The service answered with ${error.status}`
        : 'The service does not answer';
  if (!known && document.body.dataset.state !== 'signed-out') {
    setState('unavailable');
    say('Not available right now', what, 'If you were signed in, you still are. This page keeps trying.');
    tellState(false);
    return;
  }
  const calm = known ? 'You are still signed in, nothing is lost.' : 'Signing in has to wait.';
  $('trouble').replaceChildren(
    el('p', {}, el('b', {}, `${first}${what}.`), ` ${calm} Trying again every few seconds.`),
  );
  $('trouble').hidden = false;
}

/** Seconds left, by the last answer and the time since. */
function left() {
  const { session: told } = known.answer;
  const since = (performance.now() - known.at) / 1000;
  return { idle: told.idle_expires_in - since, end: told.expires_in - since };
}

function tick() {
  if (!known || document.body.dataset.state !== 'signed-in') return;
  const { idle, end } = left();
  const created = Date.parse(known.answer.session.created_at);
  show('idle', idle, idleTimeout);
  show('end', end, Math.max(end, (Date.now() - created) / 1000 + end));
  const soon = Math.min(idle, end) <= ALMOST_OVER;
  if (soon && !warned) announce('Your session ends in less than a minute.');
  warned = soon;
  if (idle <= 0 || end <= 0) check();
}

function show(which, seconds, of) {
  setText($(`${which}-text`), duration(seconds));
  const bar = $(`${which}-bar`);
  bar.max = Math.max(1, of);
  bar.value = Math.max(0, seconds);
  bar.classList.toggle('soon', seconds <= ALMOST_OVER);
}

function nameOf(user) {
  return user.name ?? user.preferred_username ?? user.email ?? user.sub;
}

function initials(name) {
  const words = name.split(/[\s@._-]+/u).filter(Boolean);
  const chosen = words.length > 1 ? [words[0], words.at(-1)] : words;
  return chosen.map((word) => [...word][0].toLocaleUpperCase()).join('');
}

function signIn() {
  setState('leaving');
  say('One moment', 'On the way to sign in', '');
  login();
}

async function signOut() {
  heard = ++asked;
  setState('leaving');
  say('One moment', 'Signing out', '');
  try {
    await logout();
    known = null;
    clearAnswers();
  } catch (error) {
    showUser(known.answer.user);
    showTrouble(error, 'Signing out did not work. ');
  }
}

/** Back from elsewhere: the page may show what is no longer so. */
function comeBack(event) {
  if (event.persisted) setState('loading');
  if (document.visibilityState === 'visible') check();
}

$('sign-in').addEventListener('click', signIn);
$('sign-out').addEventListener('click', signOut);
$('retry').addEventListener('click', () => check(true));
$('extend').addEventListener('click', async () => {
  if (await check(true)) announce('The idle time starts anew.');
});
onUnauthenticated(() => check());
addEventListener('pageshow', (event) => event.persisted && comeBack(event));
addEventListener('focus', comeBack);
document.addEventListener('visibilitychange', comeBack);
setInterval(() => document.visibilityState === 'visible' && check(), POLL);
setInterval(tick, 1_000);

showCalls(() => {
  if (known) check();
});
tellState(false);
check(true);
