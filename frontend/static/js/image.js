/** The page of a model that classifies pictures. */
import { answerParts, percent, verdict } from "./bars.js";
import { startPictures } from "./pictures.js";

startPictures(document.querySelector(".pictures-form"), document.querySelector(".pictures"), {
  show(row, answer) {
    const [prediction] = answer.predictions;
    row.answer(...answerParts(prediction, answer));
    return `${verdict(prediction)}, ${percent(prediction.probability)}`;
  },
});
