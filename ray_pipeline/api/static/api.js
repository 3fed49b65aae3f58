// HTTP requests with the token of this tab.

const KEY = "token";

export class Unauthorised extends Error {}
export class Away extends Error {}

/** Move the token from the address, which stays in the history, to the session storage. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
}

export const token = () => sessionStorage.getItem(KEY) ?? "";
export const setToken = (value) => sessionStorage.setItem(KEY, value);

export async function get(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: { Authorization: `Bearer ${token()}` } });
  } catch {
    throw new Away("the server does not answer; trying again");
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401) throw new Unauthorised(body.error);
  if (!answer.ok) throw new Away([body.error, body.fix].filter(Boolean).join(": ") || `HTTP ${answer.status}`);
  return body;
}
