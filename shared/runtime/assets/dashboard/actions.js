// What an operator can do, each behind a dialog that says what will happen. Nothing is done twice by one click.

import { h, patch } from "./dom.js";
import { post } from "./stream.js";

/** Tells of what was done, or why not. */
export function notice(text, tone = "ok") {
  const element = document.createElement("p");
  element.className = `notice ${tone}`;
  element.textContent = text;
  document.getElementById("notices").append(element);
  setTimeout(() => element.remove(), tone === "ok" ? 6000 : 15_000);
}

let dialogs = 0;

/**
 * Asks in a dialog; what was typed, or null if it was left. `field`: { label, type, isRequired }, or none where there is
 * nothing to say.
 */
export function ask({ title, text, field, button, isDangerous }) {
  return new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    dialogs += 1;
    const id = `dialog-${dialogs}`;
    dialog.setAttribute("aria-labelledby", `${id}-title`);
    const submitted = (event) => {
      event.preventDefault();
      dialog.returnValue = "yes";
      dialog.close("yes");
    };
    patch(dialog, [
      h(
        "form",
        { method: "dialog", on: { submit: submitted } },
        h("h2", { id: `${id}-title` }, title),
        [text]
          .flat()
          .filter(Boolean)
          .map((paragraph) => h("p", null, paragraph)),
        field && h("label", { for: `${id}-field` }, field.label),
        field &&
          h("input", {
            id: `${id}-field`,
            type: field.type ?? "text",
            maxlength: field.type === "password" ? null : "200",
            required: field.isRequired ?? false,
            autocomplete: "off",
          }),
        h(
          "div",
          { class: "buttons" },
          h("button", { type: "button", class: "quiet", on: { click: () => dialog.close("") } }, "Cancel"),
          h("button", { type: "submit", class: isDangerous ? "danger" : "primary" }, button),
        ),
      ),
    ]);
    dialog.addEventListener("close", () => {
      const value = dialog.querySelector("input")?.value.trim() ?? "";
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? value : null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Asks, then posts; true if it was done. */
async function act(question, path, body, done) {
  const said = await ask(question);
  if (said === null) return false;
  try {
    const answer = await post(path, body(said));
    notice(typeof done === "function" ? done(answer) : done);
    return true;
  } catch (error) {
    notice(error.message, "bad");
    return false;
  }
}

const reason = (label = "Why? It is kept with your name.") => ({ label, isRequired: true });

export const restart = (kind) =>
  act(
    {
      title: `Restart ${kind}?`,
      text: ["The part is ended and its supervisor starts it again. Orders wait for it meanwhile; none is lost."],
      field: reason(),
      button: `Restart ${kind}`,
      isDangerous: true,
    },
    `/api/parts/${encodeURIComponent(kind)}/restart`,
    (said) => ({ reason: said }),
    `${kind} is being restarted.`,
  );

export const redrive = (letter) =>
  act(
    {
      title: "Send this dead letter again?",
      text: [
        `The message goes to ${letter.topic} again as it was. Who has dealt with it already sees a duplicate, and nothing changes. To correct it first, use Swagger UI.`,
      ],
      field: { label: "Why? (may stay empty)" },
      button: "Send again",
    },
    `/api/dead-letters/${letter.id}/redrive`,
    (said) => (said ? { reason: said } : {}),
    (answer) =>
      answer?.state === "REDRIVEN" ? "Sent again." : "It will be sent again as soon as the event log takes it.",
  );

export const discard = (letter) =>
  act(
    {
      title: "Discard this dead letter?",
      text: ["Say that this message is not needed. It stays on record, with your reason."],
      field: reason(),
      button: "Discard",
      isDangerous: true,
    },
    `/api/dead-letters/${letter.id}/discard`,
    (said) => ({ reason: said }),
    "Discarded.",
  );

export const retryRefund = (payment) =>
  act(
    {
      title: "Ask the provider for this refund again?",
      text: ["It is asked now, under the same key: the money is given back once at most."],
      button: "Ask again",
    },
    `/api/payments/${payment.paymentId}/refund/retry`,
    () => undefined,
    "The provider is asked again.",
  );

export const resolveRefund = (payment) =>
  act(
    {
      title: "Was the money given back by other means?",
      text: [
        `Then the payment of ${payment.amount} ${payment.currency} is REFUNDED, its event goes out, and the provider is not asked any more. This cannot be taken back.`,
      ],
      field: reason("How was it given back?"),
      button: "It was given back",
      isDangerous: true,
    },
    `/api/payments/${payment.paymentId}/refund/resolve`,
    (said) => ({ note: said }),
    "The payment counts as refunded.",
  );

export const resolveAttention = (payment) =>
  act(
    {
      title: "Was it looked at?",
      text: [payment.attention],
      field: reason("What is there to say about it?"),
      button: "Looked at",
    },
    `/api/payments/${payment.paymentId}/attention/resolve`,
    (said) => ({ note: said }),
    "Noted.",
  );

export const resend = (one) =>
  act(
    {
      title: "Send this notice again?",
      text: [`To ${one.recipient ?? one.customerId}, under the same message id.`],
      button: "Send again",
    },
    `/api/notifications/${one.notificationId}/resend`,
    () => undefined,
    "It is being sent again.",
  );

export const cancelOrder = (order) =>
  act(
    {
      title: "Cancel this order?",
      text: ["What was charged is given back and what was held is released. This cannot be taken back."],
      field: { label: "Why? (may stay empty)" },
      button: "Cancel the order",
      isDangerous: true,
    },
    `/api/orders/${order.orderId}/cancel`,
    (said) => (said ? { reason: said } : {}),
    "The order is cancelled.",
  );
