import { useState } from 'preact/hooks';

export default function Counter() {
  const [n, set] = useState(0);
  return <button id="island" onClick={() => set(n + 1)}>{'count 0, clicked ' + n}</button>;
}
