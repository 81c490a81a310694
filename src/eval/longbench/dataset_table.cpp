#include "eval/longbench/dataset_table.h"

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "base/quote.h"
#include "seer/longbench.h"
#include "seer/text_metrics.h"

namespace seer::longbench {
namespace {

// Wording of our own in the published structure: what to do, the context, what to do once more, the question, and the
// answer's first words.
constexpr const char* kNarrative =
    "Below is a story, from a novel or a film script, and behind it a question. Give the shortest "
    "answer that you can, a "
    "few words if they are enough, and no explanation.\n\nStory: {context}\n\nNow give the "
    "shortest answer to the question "
    "about this story, a few words if they are enough, and no explanation.\n\nQuestion: "
    "{input}\n\nAnswer:";
constexpr const char* kQasper =
    "Below is a research paper, and behind it a question. Give the shortest answer that you can, a "
    "few words or one "
    "sentence. Where a yes or a no is asked for, reply with \"yes\" or \"no\"; where the paper "
    "does not tell, reply with "
    "\"unanswerable\". Explain nothing.\n\nPaper: {context}\n\nNow give the shortest answer to the "
    "question about this "
    "paper, a few words or one sentence. Where a yes or a no is asked for, reply with \"yes\" or "
    "\"no\"; where the paper "
    "does not tell, reply with \"unanswerable\". Explain nothing.\n\nQuestion: {input}\n\nAnswer:";
constexpr const char* kOneText =
    "Here is a text. A short answer is asked for behind it.\n\n{context}\n\nReply to the question "
    "with what the text above "
    "says. Write the answer alone and not a word more.\n\nQuestion: {input}\nAnswer:";
constexpr const char* kOneTextZh =
    "这里有一段文字，读完以后请用中文简要作答。\n\n{context}"
    "\n\n请依据以上文字回答问题，只写出答案本身，不写别的内容。"
    "\n\n问题：{input}\n回答：";
constexpr const char* kDocuments =
    "Several documents answer a question together. Write the answer alone and not a word "
    "more.\n\nThese are the documents."
    "\n{context}\n\nReply to the question with what the documents say. Write the answer alone and "
    "not a word more."
    "\n\nQuestion: {input}\nAnswer:";
constexpr const char* kDocumentsZh =
    "一个问题可以从下面的文章里找到回答。\n\n文章：{context}"
    "\n\n请按照文章的内容回答这个问题。\n\n问题：{input}\n回答：";
constexpr const char* kReport =
    "Below is a report of a government office. Sum it up on about one "
    "page.\n\nReport:\n{context}\n\nNow sum up this report "
    "on about one page.\n\nSummary:";
constexpr const char* kMeeting =
    "Below is what was said in a meeting, and behind it a request. Reply to the request in a "
    "sentence or a few."
    "\n\nMeeting:\n{context}\n\nNow reply to the request about this meeting in a sentence or a "
    "few.\n\nRequest: {input}"
    "\nReply:";
constexpr const char* kNews =
    "Below are articles from the news. Sum all of them up on about one "
    "page.\n\nArticles:\n{context}\n\nNow sum up all of "
    "these articles on about one page.\n\nSummary:";
constexpr const char* kMeetingZh =
    "以下是一次会议的发言内容，读完以后请概括这次会议讲了什么。\n会议内容：\n{context}"
    "\n\n会议概要：";
constexpr const char* kQuestionTypes =
    "Tell of each question what kind of thing it asks for. Solved examples come "
    "first.\n\n{context}\n{input}";
constexpr const char* kTrivia =
    "Each passage is followed by a question. Write the answer alone and not a word more. Solved "
    "examples come first."
    "\n\n{context}\n\n{input}";
constexpr const char* kDialogues =
    "Sum up each dialogue in a few short sentences. Solved examples come "
    "first.\n\n{context}\n\n{input}";
constexpr const char* kNewsTypesZh =
    "请写出每条新闻所属的类别，先看几条已经分好类的。\n\n{context}\n{input}";
constexpr const char* kCount =
    "Here are paragraphs of an encyclopedia. Some of them stand here more than once. Count how "
    "many different ones there "
    "are, each of them once.\n\n{context}\n\nHow many different paragraphs are there? Write the "
    "number alone, such as 4 or "
    "9.\n\nThe number is:";
constexpr const char* kFindParagraph =
    "Here are 30 paragraphs of an encyclopedia, and behind them a summary of one of them. Find out "
    "which one it sums up."
    "\n\n{context}\n\nThis is the summary.\n\n{input}\n\nWhich paragraph does it sum up? Write its "
    "number alone in the form "
    "\"Paragraph 1\", \"Paragraph 2\" and so on.\n\nIt sums up:";
constexpr const char* kFindParagraphZh =
    "这里有多个编了号的段落，后面的摘要概括了其中一段。请找出是哪一段。\n\n{context}"
    "\n\n摘要如下\n\n{input}\n\n"
    "它概括的是哪一段？只写编号，形式为\"段落1\"、\"段落2\"等\n\n它概括的是：";
constexpr const char* kCode =
    "Write the line that follows in this code.\n{context}The line that follows:\n";
constexpr const char* kRepository =
    "Write the line that follows in this code.\n{context}{input}The line that follows:\n";

using Classes = std::vector<std::string>;

// A metric that asks for no classes.
template <double (*kScore)(std::string_view, std::string_view)>
double without_classes(std::string_view prediction, std::string_view reference, const Classes&) {
  return kScore(prediction, reference);
}

constexpr Metric kQaF1 = {"qa_f1", without_classes<qa_f1>};
constexpr Metric kQaF1Zh = {"qa_f1_zh", without_classes<qa_f1_zh>};
constexpr Metric kRouge = {"rouge_l", without_classes<rouge_l>};
constexpr Metric kRougeZh = {"rouge_l_zh", without_classes<rouge_l_zh>};
constexpr Metric kClassification = {"classification", classification_score};
constexpr Metric kParagraph = {"paragraph", without_classes<paragraph_score>};
constexpr Metric kParagraphZh = {"paragraph_zh", without_classes<paragraph_score_zh>};
constexpr Metric kCountMetric = {"count", without_classes<count_score>};
constexpr Metric kCodeSimilarity = {"code_similarity", without_classes<code_similarity>};

constexpr bool kInE = true, kNotInE = false;

// "qasper" of "qasper_e".
std::string_view without_e(std::string_view name) {
  return name.substr(0, name.ends_with("_e") ? name.size() - 2 : name.size());
}

}  // namespace

const std::vector<Dataset>& datasets() {
  static const std::vector<Dataset> all = {
      {"narrativeqa", &kQaF1, 128, Form::kRequest, kNotInE, kNarrative},
      {"qasper", &kQaF1, 128, Form::kRequest, kInE, kQasper},
      {"multifieldqa_en", &kQaF1, 64, Form::kRequest, kInE, kOneText},
      {"multifieldqa_zh", &kQaF1Zh, 64, Form::kRequest, kNotInE, kOneTextZh},
      {"hotpotqa", &kQaF1, 32, Form::kRequest, kInE, kDocuments},
      {"2wikimqa", &kQaF1, 32, Form::kRequest, kInE, kDocuments},
      {"musique", &kQaF1, 32, Form::kRequest, kNotInE, kDocuments},
      {"dureader", &kRougeZh, 128, Form::kRequest, kNotInE, kDocumentsZh},
      {"gov_report", &kRouge, 512, Form::kRequest, kInE, kReport},
      {"qmsum", &kRouge, 512, Form::kRequest, kNotInE, kMeeting},
      {"multi_news", &kRouge, 512, Form::kRequest, kInE, kNews},
      {"vcsum", &kRougeZh, 512, Form::kRequest, kNotInE, kMeetingZh},
      {"trec", &kClassification, 64, Form::kExamples, kInE, kQuestionTypes},
      {"triviaqa", &kQaF1, 32, Form::kExamples, kInE, kTrivia},
      {"samsum", &kRouge, 128, Form::kExamples, kInE, kDialogues},
      {"lsht", &kClassification, 64, Form::kExamples, kNotInE, kNewsTypesZh},
      {"passage_count", &kCountMetric, 32, Form::kRequest, kInE, kCount},
      {"passage_retrieval_en", &kParagraph, 32, Form::kRequest, kInE, kFindParagraph},
      {"passage_retrieval_zh", &kParagraphZh, 32, Form::kRequest, kNotInE, kFindParagraphZh},
      {"lcc", &kCodeSimilarity, 64, Form::kCode, kInE, kCode},
      {"repobench-p", &kCodeSimilarity, 64, Form::kCode, kInE, kRepository}};
  return all;
}

const Dataset& dataset_of(std::string_view name) {
  std::string names;
  for (const Dataset& dataset : datasets()) {
    if (name == dataset.name ||
        (dataset.is_in_e && name != without_e(name) && without_e(name) == dataset.name)) {
      return dataset;
    }
    names += (names.empty() ? "" : ", ") + std::string(dataset.name);
  }
  for (const std::string& known : longbench_e_task_names()) names += ", " + known;
  throw std::invalid_argument("longbench task " + quote(name) + ": expected one of: " + names);
}

bool needs_classes(const Dataset& dataset) {
  return dataset.metric == &kClassification;
}

double score(const Dataset& dataset, std::string_view prediction,
             const std::vector<std::string>& references, const std::vector<std::string>& classes) {
  if (dataset.form == Form::kExamples) {
    // A base model goes on with examples of its own.
    prediction.remove_prefix(std::min(prediction.find_first_not_of('\n'), prediction.size()));
    prediction = prediction.substr(0, prediction.find('\n'));
  }
  double best = 0;
  for (const std::string& reference : references) {
    best = std::max(best, dataset.metric->score(prediction, reference, classes));
  }
  return best;
}

}  // namespace seer::longbench

namespace seer {

const std::vector<std::string>& longbench_task_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> result;
    for (const longbench::Dataset& dataset : longbench::datasets()) {
      result.emplace_back(dataset.name);
    }
    return result;
  }();
  return names;
}

const std::vector<std::string>& longbench_e_task_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> result;
    for (const longbench::Dataset& dataset : longbench::datasets()) {
      if (dataset.is_in_e) result.push_back(std::string(dataset.name) + "_e");
    }
    return result;
  }();
  return names;
}

std::filesystem::path longbench_file(const std::filesystem::path& folder, std::string_view name) {
  longbench::dataset_of(name);
  return folder / (std::string(name) + ".jsonl");
}

}  // namespace seer
