/** The panel "What just happened": follows a request from the page to the API, in three steps. */

import { $, el } from './dom.js';

/** Before any call: how the user came to be signed in or not. */
export function tellState(signedIn) {
  if (signedIn) {
    tell('You signed in at the provider, and the service kept what it was given.', [
      ['done', 'This page', 'was left for the provider, and got back one cookie that no script can read.'],
      ['done', 'The service', 'traded the sign-in for tokens and sealed them in its store.'],
      ['idle', 'The API', 'has not been asked yet. Call it.'],
    ]);
  } else {
    tell('Nothing yet. Call an endpoint and follow the request here.', [
      ['idle', 'This page', 'asks its own origin, without a token.'],
      ['idle', 'The service', 'finds the session and attaches the token.'],
      ['idle', 'The API', 'checks the token and answers.'],
    ]);
  }
}

/** After the session was ended elsewhere, or ran out. */
export function tellEnded() {
  tell('Your session is over, and its tokens with it.', [
    ['done', 'This page', 'asked, as it does every few seconds, whether you are still signed in.'],
    ['stop', 'The service', 'found the session ended. It has no token to attach any more.'],
    ['idle', 'The API', 'hears nothing in your name.'],
  ]);
}

/** After a call. */
export function tellCall({ path, open, needs, value }, { status, error }) {
  const asked = ['done', 'This page', `asked for ${path} with no token, only the cookie it cannot read.`];
  const attached = ['done', 'The service', 'found your session and attached your access token.'];
  if (status === 0) {
    tell('The request got no answer.', [
      ['done', 'This page', `asked for ${path}.`],
      ['stop', 'The service', 'did not answer.'],
      ['idle', 'The API', 'was not asked.'],
    ]);
  } else if (status < 400 && open) {
    tell(`${path} is open to everyone.`, [
      ['done', 'This page', `asked for ${path}.`],
      ['done', 'The service', 'passed the request on. This endpoint needs no session.'],
      ['done', 'The API', `answered with ${status}.`],
    ]);
  } else if (status < 400) {
    const checked = value ? `checked the token, found ${needs} ${value}, and` : 'checked the token and';
    tell('The API answered you, and the token never came near this page.', [
      asked,
      attached,
      ['done', 'The API', `${checked} answered with ${status}.`],
    ]);
  } else if (error.code === 'unauthenticated') {
    tell('The service stopped the request: nobody is signed in.', [
      ['done', 'This page', `asked for ${path}.`],
      ['stop', 'The service', 'found no session, so it had no token to attach.'],
      ['idle', 'The API', 'was not asked.'],
    ]);
  } else if (status === 403) {
    const missing = value ? `lacks the ${needs} ${value}` : 'does not allow it';
    tell('You are signed in, and still the answer is no.', [
      asked,
      ['done', 'The service', 'found your session and knew who is asking.'],
      ['stop', 'The API', `stays closed: your token ${missing}.`],
    ]);
  } else if (status === 502 || status === 504) {
    tell('The service did its part, but the API did not.', [
      asked,
      attached,
      ['stop', 'The API', status === 502 ? 'could not be reached.' : 'took too long.'],
    ]);
  } else {
    tell('The request did not get through.', [
      ['done', 'This page', `asked for ${path}.`],
      ['stop', 'The service', `answered with ${status}.`],
      ['idle', 'The API', 'gave no answer.'],
    ]);
  }
}

/** Lists what any script on this page could read: names and sizes, as they are now. */
export function showReadable() {
  const cookies = document.cookie ? document.cookie.split('; ').map((pair) => pair.split('=')[0]) : [];
  const rows = [
    ['document.cookie', cookies.length ? cookies.join(', ') : 'empty', cookies.length],
    ['localStorage', count(() => localStorage)],
    ['sessionStorage', count(() => sessionStorage)],
  ];
  $('loot').replaceChildren(
    ...rows.flatMap(([name, text]) => [
      el('dt', {}, el('code', {}, name)),
      el('dd', { className: text === 'empty' ? 'none' : '' }, text),
    ]),
  );
}

function count(storage) {
  try {
    const { length } = storage();
    return length ? `${length} ${length === 1 ? 'entry' : 'entries'}` : 'empty';
  } catch {
    return 'blocked';
  }
}

const MARKS = { done: 'done', stop: 'stopped here', idle: 'not reached' };

function tell(lead, steps) {
  $('story-lead').textContent = lead;
  $('story').replaceChildren(
    ...steps.map(([state, who, what]) =>
      el(
        'li',
        { className: state },
        el('span', { className: 'mark', role: 'img', ariaLabel: MARKS[state] }),
        el('p', {}, el('b', {}, who), ' ', what),
      ),
    ),
  );
}
